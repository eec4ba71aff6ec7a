"""What is particular to English: numbers, dates, money, abbreviations, sounds of words."""
