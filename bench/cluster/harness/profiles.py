"""Several profiles of one bed as one: a limited host is not equally fast after each start."""

import statistics


NO_BURST = {"credit_s": 0.0, "speed_up": 1.0}


def merge(values, path="profile"):
    """Same-shaped JSON: numbers become their median, all else must agree. Raises ValueError naming where it does not."""
    # What a device has next to none of, some profiles find none of and leave out.
    if any(isinstance(each, dict) and "burst" in each for each in values):
        values = [{"burst": NO_BURST, **each} for each in values]
    if any(isinstance(each, dict) and "codecs" in each for each in values):
        free = {wire: {way: [[size, 0.0] for size, _ in curve] for way, curve in codec.items()}
                for each in values for wire, codec in each.get("codecs", {}).items()}
        values = [{**each, "codecs": {**free, **each.get("codecs", {})}} for each in values]
    first = values[0]
    if isinstance(first, dict):
        if any(not isinstance(each, dict) or each.keys() != first.keys() for each in values):
            raise ValueError(f"{path}: the profiles have different keys")
        return {key: first[key] if key == "note" else merge([each[key] for each in values], f"{path}.{key}")
                for key in first}
    if isinstance(first, list):
        if any(not isinstance(each, list) or len(each) != len(first) for each in values):
            raise ValueError(f"{path}: the profiles have different lengths")
        return [merge([each[i] for each in values], f"{path}[{i}]") for i in range(len(first))]
    if isinstance(first, (int, float)) and not isinstance(first, bool):
        median = statistics.median(values)
        return round(median) if all(isinstance(each, int) for each in values) else median
    if any(each != first for each in values):
        raise ValueError(f"{path}: found {first!r} and {next(each for each in values if each != first)!r}")
    return first


def pass_time(profile, device_type, size, table="busy"):
    """Seconds of one micro-batch of `size` through the whole model, forward and backward, without the update."""
    at = profile["model"]["micro_batch_sizes"].index(size)
    return sum(layer["forward_s"] + layer["backward_s"]
               for layer in profile["model"]["devices"][device_type][table]["by_size"][at])


def update_time(profile, device_type, table="busy"):
    return sum(profile["model"]["devices"][device_type][table]["update_s"])


def speeds(profile, batch):
    """Samples per second of each device if it alone did whole iterations while all are busy, at its best micro-batch."""
    model = profile["model"]
    found = []
    for device in profile["cluster"]["devices"]:
        best = min(pass_time(profile, device["type"], size) * batch / size for size in model["micro_batch_sizes"]
                   if batch % size == 0)
        found.append(batch / (best + update_time(profile, device["type"])))
    return found


def spread(profiles):
    """How far whole passes of the same device type differ between profiles: (largest - smallest) / median, by type."""
    result = {}
    for device_type in profiles[0]["model"]["devices"]:
        size = profiles[0]["model"]["micro_batch_sizes"][0]
        times = [pass_time(profile, device_type, size) for profile in profiles]
        result[device_type] = (max(times) - min(times)) / statistics.median(times)
    return result
