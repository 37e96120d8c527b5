"""One adapter a system: NAME, RULES, FEEDS, configure(job), command(job). See ../README.md."""
