"""Floor 3: one package per AWS service; siblings never import each other."""
