"""From a judged candidate to the champion, by a signed manifest that everything else reads."""
