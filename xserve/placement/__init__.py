"""Pure placement policies: (request, free GPUs) -> GPUs, or the reason why not."""
