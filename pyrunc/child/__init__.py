"""What happens between clone and exec. We run as root with one foot in the container; the rules:

1. Nothing is imported: import is sealed first (steps.run). After pivot_root the disk is the image's, and a
   forgotten lazy import would run its code as root.
2. Only `posix` and the kernel floor: no logging, printing, threads, pwd or grp (NSS would load the image's
   libraries), no locale or codec look-ups, no execvp.
3. No decision: the plan decided. A step takes (op, child), raises OSError, returns nothing.
4. No path is resolved twice: it is opened inside the root, then the descriptor is used.
5. Every descriptor is close-on-exec, and close_range runs anyway.
6. Bytes that need thought were computed by the parent and are in the plan.
7. Failure is (step, errno), written at once; success is the stub saying "ready", or the channel closing.
8. Each step says why it is safe and why it stands where it does.
"""
