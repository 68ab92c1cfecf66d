//! The queue of a target and the list of free buffers under every interleaving of a few threads: no
//! deadlock, no lost wake-up, no frame out of order or seen after it was to be forgotten, no buffer lost or given twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use shuttle::sync::Arc;
use shuttle::thread;

use crate::{FreeList, Outbox};

/// Every schedule, however many there are; panics when there were suspiciously few.
fn every_schedule(least: usize, run: impl Fn() + Send + Sync + 'static) {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&count);
    let schedules = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        run();
    };
    shuttle::check_dfs(schedules, None);
    let ran = count.load(Ordering::Relaxed);
    assert!(ran >= least, "only {ran} schedules");
}

/// A target that takes everything until the end.
fn take_all(outbox: &Outbox<u32>) -> Vec<(bool, Option<u32>)> {
    std::iter::from_fn(|| outbox.take().map(|t| (t.forget, t.frame))).collect()
}

#[test]
fn a_target_gets_the_newest_frames_in_order_and_ends() {
    every_schedule(10, || {
        let outbox = Arc::new(Outbox::new(2));
        let target = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || take_all(&outbox))
        };
        (1..=3).for_each(|n| outbox.put(&n));
        outbox.close();
        let frames: Vec<u32> = target.join().unwrap().into_iter().filter_map(|t| t.1).collect();
        assert!(frames.is_sorted() && frames.ends_with(&[2, 3]), "{frames:?}");
        assert_eq!(frames.len() as u64 + outbox.dropped(), 3);
    });
}

#[test]
fn nothing_of_before_is_seen_after_it_was_to_be_forgotten() {
    every_schedule(10, || {
        let outbox = Arc::new(Outbox::new(2));
        let target = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || take_all(&outbox))
        };
        outbox.put(&1);
        outbox.clear();
        outbox.put(&2);
        outbox.close();
        let taken = target.join().unwrap();
        let forgot = taken.iter().position(|t| t.0).expect("it was told to forget");
        // What comes with the order to forget comes after it.
        assert!(taken[forgot..].iter().all(|t| t.1 != Some(1)), "{taken:?}");
        assert_eq!(taken.iter().filter(|t| t.1 == Some(2)).count(), 1, "{taken:?}");
    });
}

#[test]
fn a_queue_that_its_own_target_closes_takes_nothing_more_and_blocks_nobody() {
    every_schedule(5, || {
        let outbox = Arc::new(Outbox::new(2));
        let target = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                let first = outbox.take();
                outbox.close();
                first.and_then(|t| t.frame)
            })
        };
        (1..=2).for_each(|n| outbox.put(&n));
        assert!(target.join().unwrap().is_some());
        outbox.put(&3);
        assert!(!take_all(&outbox).contains(&(false, Some(3))));
    });
}

#[test]
fn all_who_wait_are_told_of_the_end() {
    every_schedule(50, || {
        let outbox = Arc::new(Outbox::<u32>::new(2));
        let taker = || {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || outbox.wait(None) && matches!(outbox.poll(), Poll::Ready(None)))
        };
        let (a, b) = (taker(), taker());
        outbox.close();
        assert!(a.join().unwrap() && b.join().unwrap());
    });
}

#[test]
fn buffers_are_neither_lost_nor_given_twice() {
    every_schedule(10, || {
        let list = Arc::new(FreeList::new([0].into_iter()));
        let in_use = Arc::new(AtomicUsize::new(0));
        let user = {
            let list = Arc::clone(&list);
            move || {
                if let Some(one) = list.take() {
                    assert_eq!(in_use.fetch_add(1, Ordering::SeqCst), 0, "given twice");
                    thread::yield_now();
                    in_use.fetch_sub(1, Ordering::SeqCst);
                    list.give(one);
                }
            }
        };
        let other = thread::spawn(user.clone());
        user();
        other.join().unwrap();
        assert_eq!((list.take(), list.take()), (Some(0), None));
    });
}

#[test]
fn a_source_that_waits_for_a_buffer_is_woken() {
    every_schedule(5, || {
        let list = Arc::new(FreeList::new([7u32].into_iter()));
        let taken = list.take().unwrap();
        let source = {
            let list = Arc::clone(&list);
            // The model's clock stands still, so only a wake-up ends this.
            thread::spawn(move || list.wait(std::time::Duration::from_secs(1)))
        };
        list.give(taken);
        assert!(source.join().unwrap());
    });
}
