"""What is in the layers, and what scanners say about the checkout (docs/supply-chain.md)."""
