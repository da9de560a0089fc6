"""The policy `apart` in Python, against the contract as it is: pods go where most memory is free, and never two of one
owner to a node. What was said of a node is kept until something there changes; all else is as plain as it can be.

Made a component by `componentize-py`; see ../README.md for the command.
"""

from collections import Counter

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.lifecycle import Description
from wit_world.imports import types as wit

# After so many looks at a node the rest of a call is left for the next: the kernel ends calls after 200 ms.
ENOUGH = 2000

CORDON = "node.kubernetes.io/unschedulable"
AWAY = "node.kubernetes.io/not-ready"


class Node:
    """A node, and the pods that count there."""

    def __init__(self, said):
        self.pods = {}
        self.change(said)

    def change(self, said):
        self.said = said
        self.labels = {label.key: label.value for label in said.labels}
        self.taints = [t for t in said.taints if t.effect != wit.Effect.PREFER_NO_SCHEDULE]
        self.extended = {amount.name: amount.amount for amount in said.extended}
        self.version = 0
        self.count()

    def count(self):
        """Adds up what its pods ask for; whatever was said of the node before is worth nothing any more."""
        requests = [of.requests for of in self.pods.values()]
        self.cpu = sum(r.milli_cpu for r in requests)
        self.memory = sum(r.memory for r in requests)
        self.storage = sum(r.ephemeral_storage for r in requests)
        self.owners = {(of.namespace, of.owner) for of in self.pods.values() if of.owner}
        self.ports = [port for of in self.pods.values() for port in of.ports]
        self.taken = Counter()
        for of in self.pods.values():
            for amount in of.extended:
                self.taken[amount.name] += amount.amount
        self.version += 1

    def free_memory(self):
        return max(0, self.said.allocatable.memory - self.memory)


class Mirror:
    """What the plugin was told."""

    def __init__(self):
        self.at = 0
        self.forget()

    def forget(self):
        self.texts, self.nodes, self.classes, self.pods = {}, {}, {}, {}
        # By class and node: the node's version, and what is against it.
        self.known = {}
        self.looks = 0

    def symbol(self, text):
        return next((symbol for symbol, known in self.texts.items() if known == text), -1)

    def release(self, pod):
        node = self.nodes.get(self.pods.pop(pod, 0))
        if node and node.pods.pop(pod, None):
            node.count()

    def bind(self, pod, node, of):
        self.release(pod)
        self.pods[pod] = node
        self.nodes[node].pods[pod] = self.classes[of]
        self.nodes[node].count()

    def take_in(self, changes):
        for named in changes.symbols:
            self.texts[named.symbol] = named.text
        for said in changes.classes:
            self.classes[said.id] = said
            self.known[said.id] = {}
            for node in self.nodes.values():
                same = [pod for pod, of in node.pods.items() if of.id == said.id]
                if same:
                    node.pods.update({pod: said for pod in same})
                    node.count()
        for id in changes.nodes_gone:
            for pod in list(self.nodes[id].pods) if id in self.nodes else []:
                self.release(pod)
            self.nodes.pop(id, None)
        for said in changes.nodes:
            if said.id in self.nodes:
                version = self.nodes[said.id].version
                self.nodes[said.id].change(said)
                self.nodes[said.id].version += version
            else:
                self.nodes[said.id] = Node(said)
                for known in self.known.values():
                    known.pop(said.id, None)
        for pod in changes.released:
            self.release(pod)
        for bound in changes.bound:
            if bound.node not in self.nodes or bound.class_ not in self.classes:
                raise Err(f"pod {bound.pod} is bound to node {bound.node}: that, or its class, is not known")
            self.bind(bound.pod, bound.node, bound.class_)
        # It names no victims, so nobody is nominated by it; and pods that are ending still take room.
        for id in changes.classes_gone:
            self.classes.pop(id, None)
            self.known.pop(id, None)

    # The rules, in Kubernetes' order.

    def number(self, symbol):
        text = self.texts.get(symbol, "")
        digits = text[1:] if text[:1] in ("-", "+") else text
        return int(text) if digits.isascii() and digits.isdigit() else None

    def holds(self, wanted, value):
        operator = wanted.operator
        if operator == wit.Operator.IS_IN:
            return value in wanted.values
        if operator == wit.Operator.NOT_IN:
            return value not in wanted.values
        if operator == wit.Operator.EXISTS:
            return value is not None
        if operator == wit.Operator.DOES_NOT_EXIST:
            return value is None
        one, other = self.number(value), self.number(wanted.values[0]) if wanted.values else None
        if one is None or other is None:
            return False
        return one > other if operator == wit.Operator.GREATER else one < other

    def wanted(self, of, node):
        if any(node.labels.get(label.key) != label.value for label in of.node_selector):
            return False

        def term_holds(term):
            given = term.expressions or term.fields
            labels = all(self.holds(one, node.labels.get(one.key)) for one in term.expressions)
            return given and labels and all(self.holds(one, node.said.name) for one in term.fields)

        return of.required_nodes is None or any(term_holds(term) for term in of.required_nodes)

    def tolerates(self, of, key, value, effect):
        return any(
            t.key in (None, key) and t.value in (None, value) and t.effect in (None, effect) for t in of.tolerations
        )

    def against(self, of, node):
        """What is against a node: the first rule, or all resources that are short."""
        said = node.said
        if said.unschedulable and not self.tolerates(of, self.symbol(CORDON), 0, wit.Effect.NO_SCHEDULE):
            return [wit.Rule_Unschedulable()]
        taints = [(t.key, t.value, t.effect) for t in node.taints]
        if not said.ready:
            taints.append((self.symbol(AWAY), 0, wit.Effect.NO_SCHEDULE))
        for key, value, effect in taints:
            if not self.tolerates(of, key, value, effect):
                return [wit.Rule_Taint(wit.Label(key, value))]
        if not self.wanted(of, node):
            return [wit.Rule_NodeAffinity()]
        for port in of.ports:
            same = [p for p in node.ports if (p.port, p.protocol) == (port.port, port.protocol)]
            if any(p.address == port.address or not p.address or not port.address for p in same):
                return [wit.Rule_Ports()]
        asked, all_of_it = of.requests, said.allocatable
        short = lambda asked, used, all: asked > 0 and asked > max(0, all - used)
        against = [
            rule
            for is_short, rule in [
                (len(node.pods) >= said.pods, wit.Rule_Pods()),
                (short(asked.milli_cpu, node.cpu, all_of_it.milli_cpu), wit.Rule_Cpu()),
                (short(asked.memory, node.memory, all_of_it.memory), wit.Rule_Memory()),
                (
                    short(asked.ephemeral_storage, node.storage, all_of_it.ephemeral_storage),
                    wit.Rule_EphemeralStorage(),
                ),
            ]
            if is_short
        ]
        for amount in of.extended:
            if short(amount.amount, node.taken[amount.name], node.extended.get(amount.name, 0)):
                against.append(wit.Rule_Extended(amount.name))
        if not against and (of.namespace, of.owner) in node.owners:
            against.append(wit.Rule_AntiAffinity())
        return against

    def judge(self, pod, node):
        """What is against a node for a pod, as it was said before if nothing changed there."""
        if pod.pinned and pod.pinned != node.said.id:
            return [wit.Rule_NodeName()]
        known = self.known[pod.class_]
        version, against = known.get(node.said.id, (-1, None))
        if version != node.version:
            self.looks += 1
            against = self.against(self.classes[pod.class_], node)
            known[node.said.id] = (node.version, against)
        return against

    def best(self, pod):
        """The best node for a pod, or 0, and how many nodes each rule turned down."""
        best, turned_down = None, {}
        for node in self.nodes.values() if pod.class_ in self.classes else []:
            against = self.judge(pod, node)
            for rule in against:
                key = order(rule)
                turned_down[key] = (rule, turned_down.get(key, (rule, 0))[1] + 1)
            if not against and (best is None or rank(node) < rank(best)):
                best = node
        return (best.said.id if best else 0), [turned_down[key] for key in sorted(turned_down)]

    def refusal(self, turned_down, for_its_group=False):
        turned_down = [wit.TurnedDown(rule, nodes) for rule, nodes in turned_down]
        return wit.Refusal(len(self.nodes), turned_down, for_its_group)


def rank(node):
    """Of equals the fewest pods come first, and of those the lowest number."""
    return (-node.free_memory(), len(node.pods), node.said.id)


RULES = [
    wit.Rule_NodeName,
    wit.Rule_Unschedulable,
    wit.Rule_Taint,
    wit.Rule_NodeAffinity,
    wit.Rule_Ports,
    wit.Rule_Pods,
    wit.Rule_Cpu,
    wit.Rule_Memory,
    wit.Rule_EphemeralStorage,
    wit.Rule_Extended,
    wit.Rule_SpreadLabel,
    wit.Rule_Spread,
    wit.Rule_Affinity,
    wit.Rule_AntiAffinity,
    wit.Rule_ExistingAntiAffinity,
]


def order(rule):
    """Rules in the order of the contract."""
    if isinstance(rule, wit.Rule_Taint):
        return (2, rule.value.key, rule.value.value)
    return (RULES.index(type(rule)), rule.value if isinstance(rule, wit.Rule_Extended) else 0, 0)


MIRROR = Mirror()


class Lifecycle(exports.Lifecycle):
    def describe(self):
        return Description("apart", "0.1.0", "Most free memory first, one pod of an owner to a node.")

    def configure(self, config):
        pass


class Policy(exports.Policy):
    def sync(self, base, next, changes):
        if base == 0:
            MIRROR.forget()
        elif base != MIRROR.at:
            raise Err(f"the mirror is at {MIRROR.at}, not at {base}")
        MIRROR.at = 0
        MIRROR.take_in(changes)
        MIRROR.at = next

    def place(self, pods, groups):
        answer = wit.Placement([], [], [])
        starts = {group.first: group for group in groups if group.count}
        MIRROR.looks = 0
        while len(answer.nodes) < len(pods) and (not answer.nodes or MIRROR.looks < ENOUGH):
            group = starts.get(len(answer.nodes))
            members = pods[len(answer.nodes) :][: group.count if group else 1]
            said = [place_one(pod) for pod in members]
            if group and sum(node != 0 for node, _ in said) < group.least:
                for place, pod in enumerate(members):
                    if said[place][0]:
                        MIRROR.release(pod.id)
                        said[place] = (0, MIRROR.refusal([], for_its_group=True))
            for node, refusal in said:
                if not node:
                    if refusal not in answer.refusals:
                        answer.refusals.append(refusal)
                    number = answer.refusals.index(refusal)
                    answer.unplaced.append(wit.Unplaced(len(answer.nodes), number, 0, []))
                answer.nodes.append(node)
        return answer

    def explain(self, pod, most):
        node, turned_down = MIRROR.best(pod)
        will_do, will_not = [], []
        for known in MIRROR.nodes.values() if pod.class_ in MIRROR.classes else []:
            against = MIRROR.judge(pod, known)
            if against:
                will_not.append(wit.Verdict(known.said.id, against, [], 0))
            else:
                will_do.append((rank(known), wit.Verdict(known.said.id, [], [], known.free_memory())))
        verdicts = [verdict for _, verdict in sorted(will_do, key=lambda one: one[0])]
        verdicts += sorted(will_not, key=lambda verdict: verdict.node)
        return wit.Explanation(node, MIRROR.refusal(turned_down), verdicts[:most])


def place_one(pod):
    MIRROR.release(pod.id)
    node, turned_down = MIRROR.best(pod)
    if node:
        MIRROR.bind(pod.id, node, pod.class_)
    return node, MIRROR.refusal(turned_down)
