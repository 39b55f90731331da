"""Networks of containers: bridges, endpoints, sandboxes, published ports, names.

What a network is and what has to be done for it is pure (model, ipam, rules, plan, names); links, nft,
conntrack, sandbox, ports and dns do it; wiring is what the engine calls. Nothing is stored here but what a
process of ours needs while it runs: the engine keeps the Records, and hands all of them to `wiring.reconcile`
after a crash. Knows no image and no container but by its id. pyroute2 is imported by links alone.
"""
