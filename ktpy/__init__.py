"""ktpy puts one laptop process into a shared Kubernetes cluster, with no privilege at either end.

Layers, each importing only what stands below it::

    cli          argv in, words out                     click, printing, exit codes
    modes        exchange: a page of prose each         upkeep   recover clean birdseye status doctor
    session      one run: its Lease, its heartbeat, what it created and took
    undo         give_back(): exit, recover and clean are the same function
    kt           what a run is made of: cluster, laptop, settings, stop, user
    cluster      the Kubernetes API      net   SSH, relays      laptop   children, state folder, images
    model        values and decisions, no I/O
    errors       what a user can be told

The undo rule. What was born ours (our role label and our Lease as owner, both from its create) is deleted.
Somebody else's object that we changed wears an undo note, written in the same write as the change; it is restored
value by value where the value is still the one we set. Everything else is left alone.

Where is …: the Service's diversion: model/diversion.py · the objects of a session: model/manifests.py ·
NetworkPolicies: the decision in model/policies.py, the objects in model/policy_plan.py, their life in policing.py ·
the port-forward: cluster/forward.py · SSH: net/tunnel.py · words and JSON: cli/say.py.
"""

__version__ = "0.1.0"
