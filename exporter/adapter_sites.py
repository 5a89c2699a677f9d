"""Linears that adapters replace, found by the class of a module above them and by names on the path in between."""

from torch import nn

from .failure import ExportError


def adapter_sites(model, ancestor_class, names):
    """Paths of the linears of one rule, in named_modules order (the order of the published adapter lists)."""
    sites = []
    for path, module in model.named_modules():
        if type(module).__name__ != ancestor_class:
            continue
        for below, linear in module.named_modules():
            if isinstance(linear, nn.Linear) and set(names) & set(below.split(".")):
                sites.append(f"{path}.{below}")
    return sites


def all_sites(model, rules):
    """(path, rule) of every site, rule by rule."""
    found = [(site, rule) for rule in rules for site in adapter_sites(model, *rule[:2])]
    for ancestor, names, group in rules:
        if not any(rule[2] == group for _, rule in found):
            raise ExportError(
                f"the denoiser holds no linear layer under {ancestor} named {' or '.join(names)}: this model has "
                "nothing to adapt there"
            )
    return found


def manifest_rules(sites, rules):
    return [
        {"ancestor_class": rule[0], "names": list(rule[1]), "group": rule[2], "sites": sum(r == rule for _, r in sites)}
        for rule in rules
    ]
