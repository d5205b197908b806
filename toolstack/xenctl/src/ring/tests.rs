use std::collections::VecDeque;

use proptest::prelude::*;
use rexen_abi::io::console::XenconsInterface;
use std::mem::offset_of;

use super::*;

fn page() -> Arc<SharedPages> {
    Arc::new(SharedPages::anonymous(1).unwrap())
}

#[test]
fn the_rings_lie_where_the_headers_have_them() {
    let (output, input) = console_rings(&page());
    assert_eq!(output.data, offset_of!(XenconsInterface, output));
    assert_eq!(output.cons, offset_of!(XenconsInterface, out_cons));
    assert_eq!(output.prod, offset_of!(XenconsInterface, out_prod));
    assert_eq!(input.data, offset_of!(XenconsInterface, input));
    assert_eq!(input.cons, offset_of!(XenconsInterface, in_cons));
    assert_eq!(input.prod, offset_of!(XenconsInterface, in_prod));
}

#[test]
fn a_guest_that_lies_breaks_only_its_ring() {
    let page = page();
    let (requests, responses) = store_rings(&page);
    page.store_u32(2052, 1025);
    let broken = Broken {
        prod: 1025,
        cons: 0,
        size: 1024,
    };
    assert_eq!(requests.read(&mut [0; 8]), Err(broken));
    assert_eq!(requests.readable(), Err(broken));
    assert_eq!(page.load_u32(2048), 0);
    assert_eq!(responses.write(b"still fine"), Ok(10));
    page.store_u32(2056, 11);
    assert!(responses.write(b"no more").is_err());
}

proptest! {
    /// A ring is a queue of bounded length, from whatever indices it starts.
    #[test]
    fn a_ring_is_a_bounded_queue(
        start: u32,
        steps in prop::collection::vec((any::<bool>(), 0usize..1500), 1..60),
    ) {
        let page = page();
        let ring = console_rings(&page).1;
        page.store_u32(3072, start);
        page.store_u32(3076, start);
        let mut model = VecDeque::new();
        let mut next = 0u8;
        for (is_write, len) in steps {
            if is_write {
                let bytes: Vec<u8> = (0..len).map(|_| { next = next.wrapping_add(1); next }).collect();
                let room = 1024 - model.len();
                prop_assert_eq!(ring.writable(), Ok(room));
                let done = ring.write(&bytes).unwrap();
                prop_assert_eq!(done, len.min(room));
                model.extend(&bytes[..done]);
            } else {
                let mut bytes = vec![0; len];
                let done = ring.read(&mut bytes).unwrap();
                prop_assert_eq!(done, len.min(model.len()));
                let expected: Vec<u8> = model.drain(..done).collect();
                prop_assert_eq!(&bytes[..done], &expected[..]);
            }
            prop_assert_eq!(ring.readable(), Ok(model.len()));
        }
    }

    /// Any indices at all: an answer, no panic.
    #[test]
    fn no_index_panics(prod: u32, cons: u32, len in 0usize..5000) {
        let page = page();
        let ring = console_rings(&page).0;
        page.store_u32(3080, cons);
        page.store_u32(3084, prod);
        let is_sane = prod.wrapping_sub(cons) <= 2048;
        prop_assert_eq!(ring.peek(&mut vec![0; len]).is_ok(), is_sane);
        prop_assert_eq!(ring.write(&vec![0; len]).is_ok(), is_sane);
    }
}
