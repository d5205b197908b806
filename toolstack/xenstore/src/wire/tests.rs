use proptest::prelude::*;

use super::*;

fn packets() -> impl Strategy<Value = Packet> {
    (
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
        prop::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(kind, req_id, tx_id, payload)| Packet {
            kind,
            req_id,
            tx_id,
            payload,
        })
}

/// Feeds bytes in pieces of the given sizes (repeated), as a ring or socket would.
fn decode_all(bytes: &[u8], sizes: &[usize]) -> Result<(Vec<Packet>, Vec<u8>), Oversized> {
    let mut decoder = Decoder::new();
    let mut packets = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        let (mut piece, tail) = rest.split_at((*size).min(rest.len()));
        rest = tail;
        while !piece.is_empty() {
            let (used, packet) = decoder.push(piece)?;
            assert!(used > 0 || packet.is_some(), "the decoder makes progress");
            piece = &piece[used..];
            packets.extend(packet);
        }
        // A message without payload is complete with the last byte of its header.
        assert!(decoder.partial().len() < HEADER_LEN + PAYLOAD_MAX);
        if rest.is_empty() {
            break;
        }
    }
    Ok((packets, decoder.partial().to_vec()))
}

#[test]
fn numbers_are_those_of_the_header_file() {
    assert_eq!(Op::from_number(0), Some(Op::Control));
    assert_eq!(Op::from_number(20), None, "RESTRICT was removed");
    assert_eq!(Op::from_number(22), Some(Op::DirectoryPart));
    assert_eq!(Op::from_number(23), None);
    assert_eq!(Op::from_number(0xffff), None);
}

#[test]
fn error_names_come_back_and_unknown_ones_mean_einval() {
    for errno in Errno::ALL {
        assert_eq!(Errno::from_name(errno.name().as_bytes()), *errno);
    }
    assert_eq!(Errno::from_name(b"EWHATEVER"), Errno::EINVAL);
}

#[test]
fn an_announced_payload_over_the_limit_is_refused_before_it_is_stored() {
    let mut decoder = Decoder::new();
    let header = Packet {
        kind: 2,
        req_id: 0,
        tx_id: 0,
        payload: Vec::new(),
    }
    .encode();
    let mut bytes = header[..12].to_vec();
    bytes.extend_from_slice(&4097u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 5000]);
    assert_eq!(decoder.push(&bytes), Err(Oversized { len: 4097 }));
    assert_eq!(decoder.partial().len(), HEADER_LEN);
}

#[test]
fn a_reply_that_does_not_fit_becomes_e2big() {
    let request = Packet::new(Op::Directory, 7, 3, Vec::new());
    let reply = request.reply(vec![b'x'; PAYLOAD_MAX + 1]);
    assert_eq!(
        (reply.kind, reply.req_id, reply.tx_id),
        (Op::Error.number(), 7, 3)
    );
    assert_eq!(reply.payload, b"E2BIG\0");
}

#[test]
fn strings_split_as_they_were_joined() {
    assert_eq!(split(b""), Some(vec![]));
    assert_eq!(split(b"\0"), Some(vec![&b""[..]]));
    assert_eq!(split(b"a\0\0b\0"), Some(vec![&b"a"[..], b"", b"b"]));
    assert_eq!(split(b"a\0b"), None);
    assert_eq!(join([&b"a"[..], b"b"]), b"a\0b\0");
}

proptest! {
    #[test]
    fn messages_survive_any_cutting(
        sent in prop::collection::vec(packets(), 0..8),
        sizes in prop::collection::vec(1usize..70, 1..10),
    ) {
        let mut bytes = Vec::new();
        for packet in &sent {
            packet.encode_into(&mut bytes);
        }
        let (received, partial) = decode_all(&bytes, &sizes).unwrap();
        prop_assert_eq!(received, sent);
        prop_assert!(partial.is_empty());
    }

    #[test]
    fn random_bytes_neither_panic_nor_pile_up(bytes in prop::collection::vec(any::<u8>(), 0..9000), size in 1usize..3000) {
        let _ = decode_all(&bytes, &[size]);
    }

    #[test]
    fn a_resumed_decoder_goes_on_where_the_first_stopped(packet in packets(), cut in any::<prop::sample::Index>()) {
        let bytes = packet.encode();
        let cut = cut.index(bytes.len());
        let mut first = Decoder::new();
        prop_assert_eq!(first.push(&bytes[..cut]).unwrap(), (cut, None));
        let mut second = Decoder::resume(first.partial()).unwrap();
        prop_assert!(second.wanted() <= bytes.len() - cut);
        prop_assert_eq!(second.push(&bytes[cut..]).unwrap(), (bytes.len() - cut, Some(packet)));
    }
}
