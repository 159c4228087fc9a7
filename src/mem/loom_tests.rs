//! Every interleaving of the things in `mem` that synchronise, by loom.

use super::doorbell::Doorbell;
use super::primitive::{Arc, AtomicUsize, Ordering};
use super::ring::channel;
use super::seat::Seat;
use loom::thread;

fn check(f: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    // Three context switches find what the literature calls nearly all bugs, and keep the run below a minute.
    model.preemption_bound = Some(3);
    model.check(f);
}

#[test]
fn loom_ring_moves_every_item_once_and_in_order() {
    check(|| {
        let (mut producer, mut consumer) = channel::<Box<usize>>(2).unwrap();
        let sender = thread::spawn(move || {
            let mut burst: heapless::Vec<Box<usize>, 4> = (0..3).map(Box::new).collect();
            while !burst.is_empty() {
                if producer.push_burst(&mut burst) == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut got: heapless::Vec<Box<usize>, 4> = heapless::Vec::new();
        while got.len() < 3 {
            if consumer.pop_burst(&mut got, 2) == 0 {
                thread::yield_now();
            }
        }
        sender.join().unwrap();
        assert!(got.iter().map(|item| **item).eq(0..3));
        assert!(consumer.pop().is_none());
    });
}

#[test]
fn loom_ring_drops_what_was_not_taken() {
    check(|| {
        let (mut producer, mut consumer) = channel::<Arc<()>>(2).unwrap();
        let item = Arc::new(());
        let copy = item.clone();
        let sender = thread::spawn(move || {
            let _ = producer.push(copy.clone());
            let _ = producer.push(copy);
        });
        drop(consumer.pop());
        drop(consumer);
        sender.join().unwrap();
        assert_eq!(Arc::strong_count(&item), 1);
    });
}

#[test]
fn loom_seat_admits_one_and_close_waits() {
    check(|| {
        let seat = Arc::new(Seat::new(0usize));
        seat.open();
        let user = {
            let seat = seat.clone();
            thread::spawn(move || {
                let mut entered = 0;
                for _ in 0..2 {
                    if let Some(mut value) = seat.enter() {
                        *value += 1;
                        entered += 1;
                    }
                }
                entered
            })
        };
        seat.close();
        // Closed: whatever the user did is done and visible, and stays so.
        let before = *seat.claim().expect("nobody can sit in a closed seat");
        assert!(seat.enter().is_none());
        let entered = user.join().unwrap();
        assert_eq!(before, entered);
        assert_eq!(*seat.claim().unwrap(), entered);
    });
}

#[test]
fn loom_seat_reopens_after_a_claim() {
    check(|| {
        let seat = Arc::new(Seat::new(0usize));
        let claimer = {
            let seat = seat.clone();
            thread::spawn(move || {
                if let Some(mut value) = seat.claim() {
                    *value += 1;
                }
            })
        };
        seat.open();
        if let Some(mut value) = seat.enter() {
            *value += 10;
        }
        claimer.join().unwrap();
        seat.close();
        let value = *seat.lock();
        assert!(value == 10 || value == 11, "{value}");
    });
}

#[test]
fn loom_doorbell_loses_no_wake_up() {
    check(|| {
        let bell = Arc::new(Doorbell::new());
        let work = Arc::new(AtomicUsize::new(0));
        let maker = {
            let (bell, work) = (bell.clone(), work.clone());
            thread::spawn(move || {
                work.store(1, Ordering::Relaxed);
                bell.ring()
            })
        };
        bell.arm();
        let seen = work.load(Ordering::Relaxed) == 1;
        let woken = maker.join().unwrap();
        assert!(seen || woken, "asleep, with work, and nobody rang");
    });
}

#[test]
fn loom_doorbell_rings_once_per_arming() {
    check(|| {
        let bell = Arc::new(Doorbell::new());
        bell.arm();
        let other = {
            let bell = bell.clone();
            thread::spawn(move || usize::from(bell.ring()))
        };
        let rings = usize::from(bell.ring()) + other.join().unwrap();
        assert_eq!(rings, 1);
    });
}

#[test]
fn loom_posted_buffers_come_back_when_the_receiver_leaves() {
    // The loopback's leave: the sender moves items from the posted to the done ring while it sits in the seat; the
    // receiver closes the seat and takes both rings apart. No item may be missing or doubled.
    check(|| {
        let (mut posted, posted_end) = channel::<usize>(2).unwrap();
        let (done_end, mut done) = channel::<usize>(2).unwrap();
        let seat = Arc::new(Seat::new((posted_end, done_end)));
        let _ = posted.push(1);
        let _ = posted.push(2);
        seat.open();
        let sender = {
            let seat = seat.clone();
            thread::spawn(move || {
                if let Some(mut ends) = seat.enter()
                    && let Some(item) = ends.0.pop()
                {
                    let _ = ends.1.push(item);
                }
            })
        };
        seat.close();
        let mut items: heapless::Vec<usize, 4> = heapless::Vec::new();
        done.pop_burst(&mut items, 4);
        if let Some(mut ends) = seat.claim() {
            ends.0.pop_burst(&mut items, 4);
        }
        assert_eq!(items.iter().sum::<usize>(), 3, "{items:?}");
        sender.join().unwrap();
        assert!(done.pop().is_none());
    });
}
