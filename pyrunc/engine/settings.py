"""What the engine is told at its start, from daemon.json and options."""

from __future__ import annotations

from pyrunc.record import Record


class Settings(Record):
    """`runtimes`: name -> program of other runtimes; `log_size_bytes`, `log_files`: bounds of a container's
    log for which none were asked; `network_table`: the nftables table, one for each engine on a host;
    `icc`: do containers on the default network reach each other;
    `exit_command`: run by a shim at its end, where there is no daemon to clean up."""

    runtimes: dict[str, str] = {}  # noqa: RUF012  (a Record's default: never changed)
    storage_driver: str = ""
    log_driver: str = "json-file"
    log_size_bytes: int = 20 << 20
    log_files: int = 3
    cgroup_parent: str = "/pyrunc"
    network_table: str = "pyrunc"
    default_ulimits: dict[str, tuple[int, int]] = {}  # noqa: RUF012
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    icc: bool = True
    labels: tuple[str, ...] = ()
    exit_command: tuple[str, ...] = ()
