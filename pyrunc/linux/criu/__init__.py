"""criu, spoken to as `criu swrk FD`: its messages, and a conversation with it. What to ask for is planned in
`plan.criu`; nothing here knows what a container is."""
