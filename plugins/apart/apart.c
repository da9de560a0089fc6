// The policy `apart` in C, against the contract as it is: pods go where most memory is free, and never two of one owner
// to a node. It asks every node for every pod, which is what the SDK for Rust spares; the answers are the same.
//
// `scheduler.h` is generated from wit/scheduler/0.2 by `wit-bindgen c`; see ../README.md for the two commands.
#include "scheduler.h"
#include <stdlib.h>
#include <string.h>

typedef sampan_scheduler_types_node_t node_t;
typedef sampan_scheduler_types_pod_class_t class_t;
typedef sampan_scheduler_types_rule_t rule_t;
typedef sampan_scheduler_types_turned_down_t turned_down_t;
typedef sampan_scheduler_types_refusal_t refusal_t;
typedef sampan_scheduler_types_requirement_t requirement_t;
typedef sampan_scheduler_types_toleration_t toleration_t;
typedef sampan_scheduler_types_verdict_t verdict_t;
typedef sampan_scheduler_types_pod_t waiting_t;

// After so many looks at a node the rest of a call is left for the next: the kernel ends calls after 200 ms.
enum { ENOUGH = 1000000 };

// A node, and the pods that count there.
typedef struct {
    bool there;
    node_t said;
    uint32_t *pods;
    size_t len, cap;
} seat_t;

// Where a pod counts; node 0 for nowhere.
typedef struct {
    uint32_t node, class_;
} placed_t;

typedef struct {
    bool is;
    int64_t value;
} number_t;

static seat_t *seats;
static class_t **classes;
static placed_t *placed;
static number_t *numbers; // By symbol: what its text says as a whole number.
static size_t seat_cap, class_cap, placed_cap, number_cap;
static uint32_t unschedulable = UINT32_MAX, not_ready = UINT32_MAX;
static uint32_t nodes;
static uint64_t synced;
static size_t looks;

// A list with room at a place; what is new is zero.
static void *with(void *list, size_t *cap, size_t place, size_t each) {
    if (place < *cap) return list;
    size_t more = place + place / 2 + 16;
    list = realloc(list, more * each);
    if (!list) abort();
    memset((char *)list + *cap * each, 0, (more - *cap) * each);
    *cap = more;
    return list;
}

static seat_t *seat_of(uint32_t node) {
    return node < seat_cap && seats[node].there ? &seats[node] : NULL;
}

static class_t *class_of(uint32_t class_) {
    return class_ < class_cap ? classes[class_] : NULL;
}

static void release(uint32_t pod) {
    if (pod >= placed_cap || !placed[pod].node) return;
    seat_t *seat = &seats[placed[pod].node];
    for (size_t i = 0; i < seat->len; i++)
        if (seat->pods[i] == pod) {
            seat->pods[i] = seat->pods[--seat->len];
            break;
        }
    placed[pod].node = 0;
}

static void bind(uint32_t pod, uint32_t node, uint32_t class_) {
    release(pod);
    placed = with(placed, &placed_cap, pod, sizeof *placed);
    placed[pod] = (placed_t){node, class_};
    seat_t *seat = &seats[node];
    seat->pods = with(seat->pods, &seat->cap, seat->len, sizeof *seat->pods);
    seat->pods[seat->len++] = pod;
}

static void remove_node(uint32_t id) {
    seat_t *seat = seat_of(id);
    if (!seat) return;
    while (seat->len) release(seat->pods[0]);
    sampan_scheduler_types_node_free(&seat->said);
    seat->there = false;
    nodes--;
}

static void forget_class(uint32_t id) {
    class_t *class_ = class_of(id);
    if (!class_) return;
    sampan_scheduler_types_pod_class_free(class_);
    free(class_);
    classes[id] = NULL;
}

static void define(uint32_t symbol, const char *text, size_t len) {
    static const char cordon[] = "node.kubernetes.io/unschedulable", away[] = "node.kubernetes.io/not-ready";
    if (len == sizeof cordon - 1 && !memcmp(text, cordon, len)) unschedulable = symbol;
    if (len == sizeof away - 1 && !memcmp(text, away, len)) not_ready = symbol;
    size_t at = len && (text[0] == '-' || text[0] == '+');
    uint64_t value = 0, most = (uint64_t)INT64_MAX + (len && text[0] == '-');
    bool is = at < len;
    for (; is && at < len; at++) {
        uint64_t digit = (uint64_t)text[at] - '0';
        is = digit < 10 && value <= (most - digit) / 10;
        value = value * 10 + digit;
    }
    numbers = with(numbers, &number_cap, symbol, sizeof *numbers);
    numbers[symbol] = (number_t){is, (int64_t)(len && text[0] == '-' ? 0 - value : value)};
}

// The rules, in Kubernetes' order. -------------------------------------------------------------------------------------

static bool tolerates(const class_t *class_, uint32_t key, uint32_t value, uint8_t effect) {
    for (size_t i = 0; i < class_->tolerations.len; i++) {
        const toleration_t *one = &class_->tolerations.ptr[i];
        if ((!one->key.is_some || one->key.val == key) && (!one->value.is_some || one->value.val == value) &&
            (!one->effect.is_some || one->effect.val == effect))
            return true;
    }
    return false;
}

static const uint32_t *label(const node_t *node, uint32_t key) {
    for (size_t i = 0; i < node->labels.len; i++)
        if (node->labels.ptr[i].key == key) return &node->labels.ptr[i].value;
    return NULL;
}

static bool holds(const requirement_t *wanted, const uint32_t *value) {
    bool among = false;
    for (size_t i = 0; value && i < wanted->values.len; i++) among |= wanted->values.ptr[i] == *value;
    const number_t *is = value && *value < number_cap ? &numbers[*value] : NULL;
    const number_t *than = wanted->values.len && wanted->values.ptr[0] < number_cap ? &numbers[wanted->values.ptr[0]] : NULL;
    bool both = is && than && is->is && than->is;
    switch (wanted->operator_) {
    case SAMPAN_SCHEDULER_TYPES_OPERATOR_IS_IN: return among;
    case SAMPAN_SCHEDULER_TYPES_OPERATOR_NOT_IN: return !among;
    case SAMPAN_SCHEDULER_TYPES_OPERATOR_EXISTS: return value;
    case SAMPAN_SCHEDULER_TYPES_OPERATOR_DOES_NOT_EXIST: return !value;
    case SAMPAN_SCHEDULER_TYPES_OPERATOR_GREATER: return both && is->value > than->value;
    default: return both && is->value < than->value;
    }
}

static bool wanted(const class_t *class_, const node_t *node) {
    for (size_t i = 0; i < class_->node_selector.len; i++) {
        const uint32_t *value = label(node, class_->node_selector.ptr[i].key);
        if (!value || *value != class_->node_selector.ptr[i].value) return false;
    }
    if (!class_->required_nodes.is_some) return true;
    for (size_t i = 0; i < class_->required_nodes.val.len; i++) {
        const sampan_scheduler_types_node_term_t *term = &class_->required_nodes.val.ptr[i];
        bool all = term->expressions.len || term->fields.len;
        for (size_t j = 0; all && j < term->expressions.len; j++)
            all = holds(&term->expressions.ptr[j], label(node, term->expressions.ptr[j].key));
        for (size_t j = 0; all && j < term->fields.len; j++) all = holds(&term->fields.ptr[j], &node->name);
        if (all) return true;
    }
    return false;
}

static uint64_t amount(sampan_scheduler_types_list_amount_t list, uint32_t name) {
    uint64_t sum = 0;
    for (size_t i = 0; i < list.len; i++) sum += list.ptr[i].name == name ? list.ptr[i].amount : 0;
    return sum;
}

// What is taken of a node.
static sampan_scheduler_types_resources_t used_of(const seat_t *seat) {
    sampan_scheduler_types_resources_t sum = {0};
    for (size_t i = 0; i < seat->len; i++) {
        const class_t *there = classes[placed[seat->pods[i]].class_];
        sum.milli_cpu += there->requests.milli_cpu;
        sum.memory += there->requests.memory;
        sum.ephemeral_storage += there->requests.ephemeral_storage;
    }
    return sum;
}

static bool short_of(uint64_t asked, uint64_t used, uint64_t all) {
    return asked && (used > all || asked > all - used);
}

static bool port_taken(const class_t *class_, const seat_t *seat) {
    for (size_t i = 0; class_->ports.len && i < seat->len; i++) {
        const class_t *there = classes[placed[seat->pods[i]].class_];
        for (size_t j = 0; j < there->ports.len; j++)
            for (size_t k = 0; k < class_->ports.len; k++) {
                sampan_scheduler_types_host_port_t one = there->ports.ptr[j], other = class_->ports.ptr[k];
                if (one.port == other.port && one.protocol == other.protocol &&
                    (one.address == other.address || !one.address || !other.address))
                    return true;
            }
    }
    return false;
}

static rule_t rule(uint8_t tag) {
    return (rule_t){.tag = tag};
}

// What is against a node: the first rule, or all resources that are short. There is room for those in `out`.
static size_t against(const class_t *class_, const seat_t *seat, rule_t *out) {
    const node_t *node = &seat->said;
    looks++;
    if (node->unschedulable && !tolerates(class_, unschedulable, 0, SAMPAN_SCHEDULER_TYPES_EFFECT_NO_SCHEDULE))
        return *out = rule(SAMPAN_SCHEDULER_TYPES_RULE_UNSCHEDULABLE), 1;
    for (size_t i = 0; i < node->taints.len; i++) {
        sampan_scheduler_types_taint_t taint = node->taints.ptr[i];
        if (taint.effect == SAMPAN_SCHEDULER_TYPES_EFFECT_PREFER_NO_SCHEDULE ||
            tolerates(class_, taint.key, taint.value, taint.effect))
            continue;
        *out = rule(SAMPAN_SCHEDULER_TYPES_RULE_TAINT);
        return out->val.taint.key = taint.key, out->val.taint.value = taint.value, 1;
    }
    if (!node->ready && !tolerates(class_, not_ready, 0, SAMPAN_SCHEDULER_TYPES_EFFECT_NO_SCHEDULE)) {
        *out = rule(SAMPAN_SCHEDULER_TYPES_RULE_TAINT);
        return out->val.taint.key = not_ready, 1;
    }
    if (!wanted(class_, node)) return *out = rule(SAMPAN_SCHEDULER_TYPES_RULE_NODE_AFFINITY), 1;
    if (port_taken(class_, seat)) return *out = rule(SAMPAN_SCHEDULER_TYPES_RULE_PORTS), 1;
    size_t len = 0;
    sampan_scheduler_types_resources_t used = used_of(seat), all = node->allocatable, asked = class_->requests;
    if (seat->len >= node->pods) out[len++] = rule(SAMPAN_SCHEDULER_TYPES_RULE_PODS);
    if (short_of(asked.milli_cpu, used.milli_cpu, all.milli_cpu)) out[len++] = rule(SAMPAN_SCHEDULER_TYPES_RULE_CPU);
    if (short_of(asked.memory, used.memory, all.memory)) out[len++] = rule(SAMPAN_SCHEDULER_TYPES_RULE_MEMORY);
    if (short_of(asked.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage))
        out[len++] = rule(SAMPAN_SCHEDULER_TYPES_RULE_EPHEMERAL_STORAGE);
    for (size_t i = 0; i < class_->extended.len; i++) {
        uint32_t name = class_->extended.ptr[i].name;
        uint64_t taken = 0;
        for (size_t j = 0; j < seat->len; j++) taken += amount(classes[placed[seat->pods[j]].class_]->extended, name);
        if (!short_of(class_->extended.ptr[i].amount, taken, amount(node->extended, name))) continue;
        out[len] = rule(SAMPAN_SCHEDULER_TYPES_RULE_EXTENDED);
        out[len++].val.extended = name;
    }
    // Never two of one owner.
    for (size_t i = 0; !len && class_->owner && i < seat->len; i++) {
        const class_t *there = classes[placed[seat->pods[i]].class_];
        if (there->owner == class_->owner && there->namespace_ == class_->namespace_)
            out[len++] = rule(SAMPAN_SCHEDULER_TYPES_RULE_ANTI_AFFINITY);
    }
    return len;
}

static int64_t score(const seat_t *seat) {
    uint64_t used = used_of(seat).memory, all = seat->said.allocatable.memory;
    return used < all ? (int64_t)(all - used) : 0;
}

// Answers. ---------------------------------------------------------------------------------------------------------------

static int order(const rule_t *one, const rule_t *other) {
    if (one->tag != other->tag) return one->tag < other->tag ? -1 : 1;
    uint64_t a = 0, b = 0;
    if (one->tag == SAMPAN_SCHEDULER_TYPES_RULE_TAINT) {
        a = (uint64_t)one->val.taint.key << 32 | one->val.taint.value;
        b = (uint64_t)other->val.taint.key << 32 | other->val.taint.value;
    } else if (one->tag == SAMPAN_SCHEDULER_TYPES_RULE_EXTENDED) {
        a = one->val.extended;
        b = other->val.extended;
    }
    return a == b ? 0 : a < b ? -1 : 1;
}

// A node more that a rule turned down; refusals have their rules in order.
static void turn_down(refusal_t *refusal, size_t *cap, rule_t rule) {
    sampan_scheduler_types_list_turned_down_t *list = &refusal->turned_down;
    size_t at = 0;
    while (at < list->len && order(&list->ptr[at].rule, &rule) < 0) at++;
    if (at < list->len && !order(&list->ptr[at].rule, &rule)) {
        list->ptr[at].nodes++;
        return;
    }
    list->ptr = with(list->ptr, cap, list->len, sizeof *list->ptr);
    memmove(&list->ptr[at + 1], &list->ptr[at], (list->len++ - at) * sizeof *list->ptr);
    list->ptr[at] = (turned_down_t){rule, 1};
}

// Room for what can be against a node.
static rule_t *rules_for(const class_t *class_) {
    rule_t *rules = calloc(class_->extended.len + 8, sizeof *rules);
    if (!rules) abort();
    return rules;
}

// The best node for a pod, or 0 and why.
static uint32_t best(const waiting_t *pod, refusal_t *refusal) {
    size_t cap = 0;
    uint32_t best = 0;
    const class_t *class_ = class_of(pod->class_);
    *refusal = (refusal_t){.nodes = nodes};
    if (!class_) return 0;
    rule_t *rules = rules_for(class_);
    for (uint32_t id = 1; id < seat_cap; id++) {
        const seat_t *seat = seat_of(id);
        if (!seat) continue;
        bool other = pod->pinned && pod->pinned != id;
        if (other) *rules = rule(SAMPAN_SCHEDULER_TYPES_RULE_NODE_NAME);
        size_t len = other ? 1 : against(class_, seat, rules);
        for (size_t i = 0; i < len; i++) turn_down(refusal, &cap, rules[i]);
        if (len) continue;
        const seat_t *old = best ? &seats[best] : NULL;
        int64_t more = old ? score(seat) - score(old) : 1;
        if (more > 0 || (!more && seat->len < old->len)) best = id;
    }
    free(rules);
    return best;
}

static bool same(const refusal_t *one, const refusal_t *other) {
    bool same = one->for_its_group == other->for_its_group && one->turned_down.len == other->turned_down.len;
    for (size_t i = 0; same && i < one->turned_down.len; i++) {
        const turned_down_t *a = &one->turned_down.ptr[i], *b = &other->turned_down.ptr[i];
        same = !order(&a->rule, &b->rule) && a->nodes == b->nodes;
    }
    return same;
}

// Says of the next pod of an answer that it has no place; each refusal is there once.
static void refuse(sampan_scheduler_types_placement_t *answer, size_t *cap, size_t *kept, refusal_t *refusal) {
    uint32_t number = 0;
    while (number < answer->refusals.len && !same(&answer->refusals.ptr[number], refusal)) number++;
    if (number == answer->refusals.len) {
        answer->refusals.ptr = with(answer->refusals.ptr, kept, number, sizeof *refusal);
        answer->refusals.ptr[answer->refusals.len++] = *refusal;
    } else {
        sampan_scheduler_types_refusal_free(refusal);
    }
    answer->unplaced.ptr = with(answer->unplaced.ptr, cap, answer->unplaced.len, sizeof *answer->unplaced.ptr);
    answer->unplaced.ptr[answer->unplaced.len++] =
        (sampan_scheduler_types_unplaced_t){.pod = (uint32_t)answer->nodes.len, .refusal = number};
}

// The contract. ----------------------------------------------------------------------------------------------------------

void exports_sampan_lifecycle_lifecycle_describe(exports_sampan_lifecycle_lifecycle_description_t *ret) {
    scheduler_string_dup(&ret->name, "apart");
    scheduler_string_dup(&ret->version, "0.1.0");
    scheduler_string_dup(&ret->summary, "Most free memory first, one pod of an owner to a node.");
}

bool exports_sampan_lifecycle_lifecycle_configure(scheduler_string_t *config, scheduler_string_t *err) {
    (void)err;
    scheduler_string_free(config);
    return true;
}

bool exports_sampan_scheduler_policy_sync(uint64_t base, uint64_t next,
                                          exports_sampan_scheduler_policy_changes_t *changes, scheduler_string_t *err) {
    if (base && base != synced) {
        scheduler_string_dup(err, "the mirror is elsewhere");
        return false;
    }
    for (uint32_t id = 0; !base && id < seat_cap; id++) remove_node(id);
    for (uint32_t id = 0; !base && id < class_cap; id++) forget_class(id);
    for (size_t i = 0; i < changes->symbols.len; i++) {
        scheduler_string_t text = changes->symbols.ptr[i].text;
        define(changes->symbols.ptr[i].symbol, (const char *)text.ptr, text.len);
    }
    // Classes and nodes are kept as they came: taken out of the lists, which are freed below.
    for (size_t i = 0; i < changes->classes.len; i++) {
        class_t *said = &changes->classes.ptr[i];
        forget_class(said->id);
        classes = with(classes, &class_cap, said->id, sizeof *classes);
        classes[said->id] = malloc(sizeof *said);
        if (!classes[said->id]) abort();
        *classes[said->id] = *said;
    }
    changes->classes.len = 0;
    for (size_t i = 0; i < changes->nodes_gone.len; i++) remove_node(changes->nodes_gone.ptr[i]);
    for (size_t i = 0; i < changes->nodes.len; i++) {
        node_t *said = &changes->nodes.ptr[i];
        seats = with(seats, &seat_cap, said->id, sizeof *seats);
        seat_t *seat = &seats[said->id];
        if (seat->there) sampan_scheduler_types_node_free(&seat->said);
        nodes += !seat->there;
        seat->there = true;
        seat->said = *said;
    }
    changes->nodes.len = 0;
    for (size_t i = 0; i < changes->released.len; i++) release(changes->released.ptr[i]);
    for (size_t i = 0; i < changes->bound.len; i++) {
        sampan_scheduler_types_bound_t bound = changes->bound.ptr[i];
        if (!seat_of(bound.node) || !class_of(bound.class_)) {
            scheduler_string_dup(err, "a pod is bound to a node, or of a class, that is not known");
            synced = 0;
            return false;
        }
        bind(bound.pod, bound.node, bound.class_);
    }
    // It names no victims, so nobody is nominated by it; and pods that are ending still take room.
    for (size_t i = 0; i < changes->classes_gone.len; i++) forget_class(changes->classes_gone.ptr[i]);
    free(changes->classes.ptr);
    free(changes->nodes.ptr);
    changes->classes.ptr = NULL;
    changes->nodes.ptr = NULL;
    exports_sampan_scheduler_policy_changes_free(changes);
    synced = next;
    return true;
}

void exports_sampan_scheduler_policy_place(exports_sampan_scheduler_policy_list_pod_t *pods,
                                           exports_sampan_scheduler_policy_list_pod_group_t *groups,
                                           exports_sampan_scheduler_policy_placement_t *ret) {
    size_t cap = 0, kept = 0, at = 0;
    memset(ret, 0, sizeof *ret);
    ret->nodes.ptr = calloc(pods->len + 1, sizeof *ret->nodes.ptr);
    refusal_t *why = calloc(pods->len + 1, sizeof *why);
    if (!ret->nodes.ptr || !why) abort();
    looks = 0;
    while (at < pods->len && (!at || looks < ENOUGH)) {
        size_t count = 1, least = 0, have = 0;
        for (size_t i = 0; i < groups->len; i++)
            if (groups->ptr[i].first == at && groups->ptr[i].count) {
                count = groups->ptr[i].count < pods->len - at ? groups->ptr[i].count : pods->len - at;
                least = groups->ptr[i].least;
            }
        for (size_t i = at; i < at + count; i++) {
            const waiting_t *pod = &pods->ptr[i];
            release(pod->id);
            ret->nodes.ptr[i] = best(pod, &why[i]);
            if (!ret->nodes.ptr[i]) continue;
            bind(pod->id, ret->nodes.ptr[i], pod->class_);
            have++;
        }
        for (size_t i = at; i < at + count; i++, ret->nodes.len++) {
            if (ret->nodes.ptr[i] && have < least) {
                // Not enough of its group: back again.
                release(pods->ptr[i].id);
                ret->nodes.ptr[i] = 0;
                sampan_scheduler_types_refusal_free(&why[i]);
                why[i] = (refusal_t){.nodes = nodes, .for_its_group = true};
            }
            if (ret->nodes.ptr[i]) sampan_scheduler_types_refusal_free(&why[i]);
            else refuse(ret, &cap, &kept, &why[i]);
        }
        at += count;
    }
    free(why);
    exports_sampan_scheduler_policy_list_pod_free(pods);
    exports_sampan_scheduler_policy_list_pod_group_free(groups);
}

static int better(const void *one, const void *other) {
    const verdict_t *a = one, *b = other;
    if (!a->against.len != !b->against.len) return a->against.len ? 1 : -1;
    if (!a->against.len && a->total != b->total) return a->total > b->total ? -1 : 1;
    size_t there = seats[a->node].len, others = seats[b->node].len;
    if (!a->against.len && there != others) return there < others ? -1 : 1;
    return a->node < b->node ? -1 : 1;
}

void exports_sampan_scheduler_policy_explain(exports_sampan_scheduler_policy_pod_t *pod, uint32_t most,
                                             exports_sampan_scheduler_policy_explanation_t *ret) {
    memset(ret, 0, sizeof *ret);
    const class_t *class_ = class_of(pod->class_);
    ret->node = best(pod, &ret->refusal);
    verdict_t *all = calloc(nodes + 1, sizeof *all);
    if (!all) abort();
    size_t len = 0;
    for (uint32_t id = 1; class_ && id < seat_cap; id++) {
        const seat_t *seat = seat_of(id);
        if (!seat) continue;
        verdict_t *verdict = &all[len++];
        *verdict = (verdict_t){.node = id, .against.ptr = rules_for(class_)};
        if (pod->pinned && pod->pinned != id) {
            *verdict->against.ptr = rule(SAMPAN_SCHEDULER_TYPES_RULE_NODE_NAME);
            verdict->against.len = 1;
        } else {
            verdict->against.len = against(class_, seat, verdict->against.ptr);
        }
        if (!verdict->against.len) verdict->total = score(seat);
    }
    qsort(all, len, sizeof *all, better);
    for (size_t i = most; i < len; i++) free(all[i].against.ptr);
    ret->verdicts.ptr = all;
    ret->verdicts.len = len < most ? len : most;
}
