"""Images: fetched, kept, unpacked, sent, changed and taken away. Plain blocking functions over a `Store`.

What belongs here: blobs, names, image records, layers and snapshots, registries and archives. What must not:
containers (a snapshot has a key, and that is all we know of whoever uses it), networks, and anything of HTTP
but the client's side of a registry. Every byte of an image, an archive and a registry is hostile.

Threads carry transfers; unpacking and packing are done by helper processes (`worker`), for the GIL would
have two layers wait for each other, and because what reads a hostile archive should hold nothing else.
Nothing forks. Two processes may use one data root: see `store`.

    store.open_store(root, driver="overlay"|"plain"|"") -> Store        "" takes what the file system can
    references                     oci.reference.parse_reference("busybox") -> Reference (.full, .familiar)

    images.list_images(store) -> (Image, …)                             newest first
    images.select_images(images, ImageFilter) -> (Image, …)             reference=, dangling=, label=, …
    images.find_image(store, text, platform=None) -> Image              by name, name@digest, id, digits of it
    images.history(store, image) -> (HistoryItem, …)                    as `docker history` lists it
    images.tag(store, image, reference)
    removal.remove(store, text, force=, prune_parents=, uses=) -> (Removed, …)      Untagged/Deleted, in order
    removal.prune(store, ImageFilter, everything=, uses=) -> Pruned                 removed, bytes reclaimed
    usage.disk_usage(store) -> DiskUsage                                images with SHARED/UNIQUE sizes

    pull.pull(store, reference, PullOptions) -> Image
    push.push(store, reference, PushOptions) -> Descriptor
    asking.check_credentials(server, Credentials, Registries)           of a login
    asking.search(term, limit, credentials, Registries) -> (Found, …)
    asking.look_up(reference, PullOptions) -> Descriptor, (Platform, …) without pulling
    archive.save(store, texts, sink, platform=None)                     sink: write(bytes)
    load.load(store, source, progress=) -> (Loaded, …)                  source: read(n), compressed or not
    importer.import_tree(store, source, ImportOptions) -> Image         a tar of a root filesystem
    importer.fetched(url) -> source                                     a context: of what lies elsewhere
    commit.commit(store, key, CommitOptions) -> Image                   the upper directory of a snapshot
    changes.changes(store, key) -> (Change, …)                          kinds A, C, D

    store.snapshots  (snapshots.overlay.Overlay | snapshots.plain.Plain; same methods)
        prepare(key, parent)       a new active snapshot on image.chain_id ("" for none)
        mounts(key) -> Mounts      what to mount, as data
        mount(key, target); unmount(target)
        commit(key, name); remove(key); usage(key) -> Usage; parent_of(key); active() -> (key, …)

`options` has the Records that these take and give. Progress is a callback that gets a `progress.Progress`
(id, status, current, total) with docker's words; it is called from several threads, one at a time. An error
is raised, never sent as progress.
"""
