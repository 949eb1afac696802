"""Object stores behind one small contract (`coffre.stores.store`)."""
