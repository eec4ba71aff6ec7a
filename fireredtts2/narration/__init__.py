"""From texts and voices to turns: what is said, after what, in how many attempts."""
