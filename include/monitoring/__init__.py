"""Whether what the champion sees and says is still what it was made for, and what to do when it is not."""
