"""What the commands share of their command lines: options, recipes and suites by name, help, errors."""
