"""One self-contained page (HTML) about proposals: no network, no fonts, no scripts but its own."""
