//! Polling again at once what was woken while it was polled.
//! Owns: when a wake reaches the runtime.
//! Must not know: what is polled.
//!
//! With every request that has a body, hyper wakes its own connection while it is being polled. The runtime would put the
//! task at the end of its queue and wake another thread, with a system call, that may take it over.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// After so many polls in a row it is the turn of others.
const IN_A_ROW: usize = 8;

const IDLE: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

/// See the module.
pub(super) struct Repoll<F> {
    future: F,
    state: Arc<State>,
    waker: Waker,
}

struct State {
    phase: AtomicU8,
    task: AtomicWaker,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // While it is being polled, or was woken already, its next poll sees it.
        if self.phase.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.task.wake();
        }
    }
}

impl<F> Repoll<F> {
    pub(super) fn new(future: F) -> Self {
        let state = Arc::new(State { phase: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&state));
        Self { future, state, waker }
    }

    /// What is polled.
    pub(super) fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// What was polled.
    pub(super) fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future + Unpin> Future for Repoll<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, state, waker } = &mut *self;
        state.task.register(cx.waker());
        for _ in 0..IN_A_ROW {
            state.phase.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(output);
            }
            // Otherwise it was woken meanwhile.
            if state.phase.compare_exchange(POLLED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        state.phase.store(IDLE, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::task::noop_waker;

    use super::*;

    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Wakes itself the first so many times that it is polled; is ready when it was polled once more than that.
    struct WakesItself {
        left: usize,
        polls: usize,
        waker: Option<Waker>,
    }

    impl Future for WakesItself {
        type Output = usize;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
            self.polls += 1;
            self.waker = Some(cx.waker().clone());
            if self.left > 0 {
                self.left -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.polls > 100 { Poll::Ready(self.polls) } else { Poll::Pending }
        }
    }

    fn polled(left: usize) -> (Repoll<WakesItself>, Arc<Counting>) {
        let counting = Arc::new(Counting(AtomicUsize::new(0)));
        let mut future = Repoll::new(WakesItself { left, polls: 0, waker: None });
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&counting.clone().into())).is_pending());
        (future, counting)
    }

    #[test]
    fn what_wakes_itself_is_polled_again_without_the_runtime() {
        let (future, counting) = polled(3);
        assert_eq!((future.future.polls, counting.0.load(Ordering::SeqCst)), (4, 0));
    }

    #[test]
    fn a_wake_after_the_poll_reaches_the_runtime_once() {
        let (future, counting) = polled(0);
        let waker = future.future.waker.clone().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(counting.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_never_stops_waking_itself_gives_way_and_goes_on() {
        let (mut future, counting) = polled(1000);
        assert_eq!((future.future.polls, counting.0.load(Ordering::SeqCst)), (IN_A_ROW, 1));
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&noop_waker())).is_pending());
        assert_eq!(future.future.polls, 2 * IN_A_ROW);
    }
}
