//! What is taken when.
use super::*;

/// A group of which none has a node.
fn alone(group: &Group) -> Needs {
    Needs {
        bound: 0,
        least: group.least,
        patience: None,
    }
}

fn shape(priority: i32, group: Option<Group>) -> Arc<Shape> {
    Arc::new(Shape {
        class: 1,
        scheduler: "default-scheduler".into(),
        gated: false,
        priority,
        may_preempt: true,
        pinned: None,
        group,
        refused: None,
    })
}

fn take(queue: &mut Queue, most: usize, now: Instant) -> Vec<u32> {
    queue.take(most, now, alone).pods
}

#[test]
fn priority_first_then_arrival() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for (id, priority) in [(1, 0), (2, 5), (3, 0), (4, 5)] {
        queue.put(id, &shape(priority, None));
    }
    assert_eq!(take(&mut queue, 3, now), [2, 4, 1]);
    assert_eq!(take(&mut queue, 3, now), [3]);
    queue.again(4);
    queue.again(2);
    assert_eq!(take(&mut queue, 3, now), [2, 4], "in their places");
}

#[test]
fn a_parked_pod_waits_for_news_that_helps_and_its_back_off() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.put(1, &shape(0, None));
    take(&mut queue, 1, now);
    queue.park(1, News::ROOM.and(News::NODE), now);
    queue.wake(News::SHAPE.and(News::COMPANY));
    let later = now + LONGEST_BACK_OFF * 2;
    assert!(take(&mut queue, 1, later).is_empty(), "that does not help");
    queue.wake(News::ROOM);
    assert!(take(&mut queue, 1, now).is_empty(), "too early");
    assert_eq!(take(&mut queue, 1, now + FIRST_BACK_OFF), [1]);
    queue.park(1, News::ROOM, now);
    assert_eq!(queue.next_due(), Some(now + LONGEST_PARKED));
    assert_eq!(take(&mut queue, 1, now + LONGEST_PARKED), [1], "whatever happens");
}

#[test]
fn back_off_doubles() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.put(1, &shape(0, None));
    for seconds in [1, 2, 4, 8, 10, 10] {
        assert_eq!(take(&mut queue, 1, now + LONGEST_BACK_OFF), [1]);
        queue.back_off(1, now);
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(seconds)));
    }
}

#[test]
fn another_shape_is_tried_at_once_and_the_same_is_no_news() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.put(1, &shape(0, None));
    take(&mut queue, 1, now);
    queue.park(1, News::ROOM, now);
    queue.put(1, &shape(0, None));
    assert!(take(&mut queue, 1, now).is_empty(), "the same pod again");
    queue.put(1, &shape(1, None));
    assert_eq!(take(&mut queue, 1, now), [1]);
}

#[test]
fn who_is_held_waits_for_another_policy() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.put(1, &shape(0, None));
    take(&mut queue, 1, now);
    queue.hold(1);
    queue.wake(News(!News::POLICY.0));
    assert_eq!((take(&mut queue, 1, now), queue.next_due()), (vec![], None));
    queue.wake(News::POLICY);
    assert_eq!(take(&mut queue, 1, now), [1]);
}

#[test]
fn a_group_is_taken_as_a_whole_once_enough_are_there() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let group = Group {
        namespace: "default".into(),
        name: "g".into(),
        least: 3,
    };
    queue.put(1, &shape(0, Some(group.clone())));
    queue.put(2, &shape(9, None));
    queue.put(3, &shape(0, Some(group.clone())));
    let taken = queue.take(9, now, alone);
    assert_eq!((taken.pods, taken.groups), (vec![2], vec![]));
    assert_eq!(taken.incomplete, [(1, 2), (3, 2)]);
    assert_eq!(queue.next_due(), None, "it waits for more");
    queue.put(4, &shape(5, Some(group.clone())));
    queue.put(5, &shape(1, None));
    // Beyond the size of a call, since they go together; one of higher priority brings the others with it.
    let taken = queue.take(2, now, alone);
    assert_eq!(taken.pods, [4, 1, 3]);
    let all = PodGroup {
        first: 0,
        count: 3,
        least: 3,
    };
    assert_eq!(taken.groups, [all]);
    // With two that are bound one more will do.
    queue.remove(1);
    queue.remove(3);
    queue.again(4);
    let taken = queue.take(1, now, |group| Needs {
        bound: 2,
        ..alone(group)
    });
    assert_eq!((taken.pods, taken.groups[0].least), (vec![4], 1));
}

#[test]
fn who_is_hurried_waits_out_no_back_off_unless_it_waits_for_something_else() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for id in [1, 2, 3] {
        queue.put(id, &shape(0, None));
    }
    take(&mut queue, 3, now);
    queue.park(1, News::ROOM, now);
    queue.back_off(2, now);
    queue.hold(3);
    assert!(take(&mut queue, 3, now).is_empty());
    for id in [1, 2, 3] {
        queue.hurry(id);
    }
    assert_eq!(take(&mut queue, 3, now), [1, 2]);
}

#[test]
fn a_group_is_tried_for_its_time_and_then_left_alone_for_a_while() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    let group = Group {
        namespace: "default".into(),
        name: "g".into(),
        least: 2,
    };
    let second = Duration::from_secs(1);
    let needs = |group: &Group| Needs {
        patience: Some(30 * second),
        ..alone(group)
    };
    queue.put(1, &shape(0, Some(group.clone())));
    queue.take(9, now, needs);
    assert_eq!(queue.next_due(), None, "one of two: it is not tried");
    queue.put(2, &shape(0, Some(group.clone())));
    for at in [0, 20] {
        assert_eq!(queue.take(9, now + at * second, needs).pods, [1, 2]);
        queue.park(1, News::NODE, now);
        queue.park(2, News::NODE, now);
        queue.wake(News::NODE);
    }
    // From the first try on.
    assert_eq!(queue.give_up(now + 29 * second), None);
    let over = now + 30 * second;
    assert_eq!(queue.give_up(over), Some((group.clone(), vec![1, 2])));
    queue.wake(News(!0));
    assert!(take(&mut queue, 9, over + 9 * second).is_empty(), "whatever the news");
    let again = over + LONGEST_BACK_OFF;
    assert_eq!(queue.next_due(), Some(again));
    assert_eq!(queue.take(9, again, needs).pods, [1, 2], "and a time of its own again");
    assert_eq!(queue.give_up(again + 29 * second), None);
    // Who has a place is given up no more.
    queue.placed(1);
    assert_eq!(queue.give_up(again + 60 * second), None);
}
