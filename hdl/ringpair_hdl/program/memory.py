"""What lies where in the scratchpad: every variable of the device, by name."""

from ringpair_protocol import admin, messages, records
from ringpair_protocol.puf import BITS_BYTES, HELPER_BYTES

from ringpair_hdl.control import Scratchpad

PENDING_INITIATOR, PENDING_RESPONDER, SESSION, BY_BUTTON, ENROLLING = 0x01, 0x02, 0x04, 0x08, 0x10
"""Bits of ``Memory.flags``."""
PEER, DEVICE = 0, 1
"""Values of ``Memory.kind``: which kind of journal is open."""


class Memory:
    """The fields of the control program.

    Parameters
    ----------
    identity
        What the device answers to ``IDENTITY``; floorplan and layout version of it are hashed into the PUF key.
    """

    def __init__(self, identity: admin.Identity):
        self.pad = pad = Scratchpad()
        field = pad.field
        self.identity = field("identity", admin.IDENTITY_LENGTH, init=identity.to_bytes())
        self.floorplan = self.identity[16:24]
        self.layout_version = self.identity[24:26]

        # What the status command reports, in its order.
        self.report = field("report", admin.STATUS_LENGTH)
        parts, start = {}, 0
        for name, length in admin.STATUS_FIELDS:
            parts[name], start = self.report[start : start + length], start + length
        self.state, self.has_session, self.trng = parts["state"], parts["session"], parts["trng"]
        self.button, self.jedec = parts["button"], parts["jedec"]
        self.failure, self.tries, self.own_id = parts["failure"], parts["tries"], parts["device_id"]

        # Used most, at the scratchpad's top: the last are next to each other as opcode, status.
        self.frame = field("frame", 1, hot=1)  # payload bytes of the received frame, or 0x80 | kind of its error
        self.flags = field("flags", 1, hot=1)
        self.status = field("status", 1, hot=1)
        self.opcode = field("opcode", 1, hot=1)
        self.address = field("address", 3, hot=2)  # as the flash wants it: high byte first

        # Control: all public. Neighbors that are sent, received or hashed together are one move.
        self.untidy = field("untidy", 1)  # what a power cut left behind is not yet looked for
        self.carrier = field("carrier", 1)
        self.former = field("former", 1)
        self.arrival = field("arrival", 1)  # the carrier by which the present message came
        self.peer = field("peer", 1)
        self.message = field("message", 1)
        self.free = field("free", 1)
        self.count = field("count", 1)
        self.role = field("role", 1)
        self.pending_peer = field("pending_peer", 1)
        self.pending_epoch = field("pending_epoch", 4)
        self.session_id = field("session_id", 8)
        self.new_epoch = field("new_epoch", 4)
        self.attempt = field("attempt", 1)
        self.permitting = field("permitting", 1)  # the button is held for an enrollment
        self.walk = field("walk", 1)  # the peer that the button's walk is at
        self.tried = field("tried", 1)  # and whether it has said anything
        self.resyncs = field("resyncs", 1)
        self.has_nonce = field("has_nonce", 1)
        self.nonce_pool = field("nonce_pool", messages.NONCE_LENGTH)
        self.direction = field("direction", 1)
        self.nonce_i = field("nonce_i", messages.NONCE_LENGTH)
        self.tag_1 = field("tag_1", messages.TAG_LENGTH)
        self.nonce_r = field("nonce_r", messages.NONCE_LENGTH)
        self.tag_2 = field("tag_2", messages.TAG_LENGTH)
        self.sent_nonce = field("sent_nonce", messages.NONCE_LENGTH)
        self.sent_tag = field("sent_tag", messages.TAG_LENGTH)

        # Flash and journals.
        self.region = field("region", 3)
        self.old = field("old", 3)
        self.kind = field("kind", 1)
        self.found = field("found", 1)
        self.last = field("last", 1)
        self.tail = field("tail", 1)
        self.sectors = field("sectors", 1)
        self.best_number = field("best_number", 4)
        self.polls = field("polls", 3)
        self.spi = field("spi", 1)
        self.mark = field("mark", 8)
        self.sealed = field("sealed", messages.SEALED_HEADER)

        # The record that is open: header and slot.
        self.header = field("header", records.HEADER_LENGTH)
        self.slot = field("slot", records.PEER_SLOT_LENGTH, secret=True)
        self.number, self.secret = self.slot[:4], self.slot[4:]
        self.chain_key, self.auth_prev = self.slot[4:36], self.slot[36:52]
        self.wrap_index, self.next_pair = self.slot[4:8], self.slot[8:10]
        self.wrap_key = self.slot[12:44]

        # Secrets, wiped with the slot as soon as the operation that needs them ends.
        self.seal_key = field("seal_key", 16, secret=True)
        self.chain_next = field("chain_next", 32, secret=True)
        self.auth_key = field("auth_key", 16, secret=True)
        self.session_root = field("session_root", 32, secret=True)
        self.random = field("random", 32, secret=True)
        self.pair_key = field("pair_key", 32, secret=True)
        self.buffer = field("buffer", max(HELPER_BYTES, messages.TEXT_MAX), secret=True)
        self.bits = field("bits", BITS_BYTES, secret=True)
        self.puf_key = field("puf_key", 32, secret=True)
        self.salt = field("salt", 16)
        self.check = field("check", 8)
        self.digest = field("digest", 16)
        self.nonce = field("nonce", 12)

        # Secrets of a session, wiped when it ends. The names are this side's: tx is what this device sends under.
        self.new_wrap = field("new_wrap", 32, secret=True)
        self.session = field("session", 72, secret=True)
        self.tag_3, self.tx_key, self.rx_key = (self.session[k : k + 16] for k in (0, 16, 32))
        self.tx_iv, self.rx_iv = self.session[48:60], self.session[60:72]
        self.helper = self.session[:HELPER_BYTES]  # of an enrollment: there is no session before it
        self.tx_counter = field("tx_counter", 4)
        self.rx_next = field("rx_next", 4)
        self.rx_counter = field("rx_counter", 4)
        self.tag = field("tag", 16)

        # Between E1 and E3 of an enrollment, and while a puzzle is imported.
        self.new_index = field("new_index", 4)
        self.pair_index = field("pair_index", 2)
        self.nonce_s = field("nonce_s", 16)

    @property
    def operation_secrets(self):
        return (
            self.slot,
            self.seal_key,
            self.chain_next,
            self.auth_key,
            self.session_root,
            self.random,
            self.pair_key,
            self.buffer,
            self.bits,
            self.puf_key,
        )

    @property
    def session_secrets(self):
        return (self.session,)
