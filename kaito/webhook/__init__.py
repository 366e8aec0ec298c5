"""The validating admission webhook: what it answers, the certificate it shows, and how both stay in step.

`reviews` answers, `application` and `server` carry that over HTTPS; `certificates` makes key pairs, `secret`
and `configuration` say how they are kept and published, `rotation` decides what is to be done next, and
`keeper` does it, one call at a time. `process` wires them into the one object that a process starts.
"""
