"""Programs that lab nodes run beside fairhop and the stock daemons."""
