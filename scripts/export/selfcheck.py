def check(name, path, eager, dtype, document, progress):
    return
