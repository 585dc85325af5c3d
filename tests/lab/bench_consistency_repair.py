"""x"""

orphans = reconcile = fence = None
