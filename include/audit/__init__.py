"""An auditor that trusts nobody: it reads what the pipeline left and shares no code with its writers."""
