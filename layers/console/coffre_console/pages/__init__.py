"""The console's pages: HTML that works without JavaScript. Everything shown is read by `coffre_console.reading`."""
