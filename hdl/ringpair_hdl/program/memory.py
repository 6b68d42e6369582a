"""What lies where in the scratchpad: every variable of the device, by name."""

from enum import IntEnum

from ringpair_protocol import admin, messages, records
from ringpair_protocol.binding import PIN_DIGITS
from ringpair_protocol.puf import BITS_BYTES, HELPER_BYTES

from ringpair_hdl.control import Field, Scratchpad

PENDING_INITIATOR, PENDING_RESPONDER, SESSION, BY_BUTTON, ENROLLING = 0x01, 0x02, 0x04, 0x08, 0x10
"""Bits of ``Memory.flags``."""


class Run(IntEnum):
    """How far a binding, or the opening of a controller's session, is."""

    NONE = 0
    OPENED = 1
    """S2 is out."""
    ASKED = 2
    """B2 is out."""
    WRONG = 3
    """And a wrong Ta came."""
    RIGHT = 4
    """Or the right one."""


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
        self.full = identity.profile is admin.Profile.FULL
        self.end = "end_curve" if self.full else "wipe"  # the routine that ends an operation
        self.smallest_flash = 0x15 if self.full else 0x14  # capacity byte of the JEDEC id: bitstream and records fit
        self.journals = records.MAX_PEERS + (records.MAX_CONTROLLERS if self.full else 0)
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
        self.new_epoch = field("new_epoch", 4)
        self.attempt = field("attempt", 1)
        self.permitting = field("permitting", 1)  # the button is held for an enrollment, or for a PIN
        self.walk = field("walk", 1)  # the peer that the button's walk is at
        self.tried = field("tried", 1)  # and whether it has said anything
        self.resyncs = field("resyncs", 1)
        self.has_nonce = field("has_nonce", 1)
        if self.full:
            self._add_controllers(field)
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

        # The record that is open: header and slot.
        self.header = field("header", records.HEADER_LENGTH)
        self.slot = field("slot", records.PEER_SLOT_LENGTH, secret=True)
        self.number, self.secret = self.slot[:4], self.slot[4:]
        self.chain_key, self.auth_prev = self.slot[4:36], self.slot[36:52]
        self.wrap_index, self.next_pair, self.pin_tries = self.slot[4:8], self.slot[8:10], self.slot[10]
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
        self.mark = self.check  # first bytes of a slot: looked at when the key is there
        self.digest = field("digest", 16)
        self.tag, self.nonce = self.digest, self.digest[:12]  # of a message, and of a slot: the same

        self.last_counters = self.pad.constant(bytes([255] * (8 if self.full else 4)))  # for both directions
        self.last_counter = self.last_counters[:4]

        # Secrets of a session, wiped when it ends. The names are this side's: tx is what this device sends under.
        self.new_wrap = field("new_wrap", 32, secret=True)
        self.session = field("session", 72, secret=True)
        self.tag_3, self.rx_key, self.tx_key = (self.session[k : k + 16] for k in (0, 16, 32))
        self.rx_iv, self.tx_iv = self.session[48:60], self.session[60:72]
        self.helper = self.session[:HELPER_BYTES]  # of an enrollment: there is no session before it
        self.tx_counter = field("tx_counter", 4)
        self.rx_next = field("rx_next", 4)
        self.session_id = field("session_id", 8)
        self.rx_counter = field("rx_counter", 4)

        # In the places of a handshake's messages: while a puzzle is imported, and between E1 and E3 of an enrollment,
        # before which there is no handshake.
        self.sealed = self.nonce_r[: messages.SEALED_HEADER]
        self.new_index, self.pair_index = self.tag_1[:4], self.tag_1[4:6]
        self.nonce_s = self.nonce_i
        if self.full:
            self._add_binding()

    def _add_controllers(self, field) -> None:
        """Of bindings and controllers' sessions: what stays."""
        self.run = field("run", 1)  # a `Run`
        self.run_place = field("run_place", 1)  # of the controller that opens a session; its peer journal's number
        self.place = field("place", 1)  # of the one that has a session
        self.bound = field("bound", 1)  # there is one
        self.switch = field("switch", 1)
        self.has_key = field("has_key", 1)  # the device's public key lies on the shelf
        self.binding = Field("binding", self.run.address, self.has_key.end - self.run.address)

    def _add_binding(self) -> None:
        """Of bindings and controllers' sessions: what an operation needs, and otherwise lies on the shelf."""
        # A run, in the places of what a handshake derives: fields that a statement consists of, in its order.
        self.said = Field("said", self.chain_next.address, 144, secret=True)
        assert self.said.end == self.pair_key.end, "the fields of a run must lie next to each other"
        self.sid, self.share_c, self.share_d = self.said[:16], self.said[16:48], self.said[48:80]
        self.device_key, self.service_key = self.said[80:112], self.said[112:144]
        self.service_id, self.run_id = self.sid[:8], self.sid[8:]
        self.digits = self.bits[-PIN_DIGITS:]
        # A session: what lies on the shelf for the one that is not in use.
        self.public = Field("public", 0, 88)  # nothing secret: overwrites what was
        self.keys = Field("keys", self.session.address, 88, secret=True)
        assert self.keys.end == self.session_id.end, "the fields of a session must lie next to each other"

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
