/**
 * Registers, commands and control blocks of the Adaptec AHA-1542 family.
 *
 * [1] AHA-1540B/1542B Technical Reference Manual
 * [2] AHA-1540CF/1542CF Technical Reference Manual
 * [3] AHA-1540CP Technical Reference Manual: commands 22h and up, board ids
 */

// Ports, from the base on, [1] 1.4.
/** Read: status. Write: control. */
export const PORT_STATUS = 0;
export const PORT_CONTROL = 0;
/** Read: data. Write: command and parameters. */
export const PORT_DATA = 1;
export const PORT_COMMAND = 1;
/** Read: interrupt flags. */
export const PORT_INTERRUPT = 2;
/** Not documented: the boards of the C series answer the letters of the maker's name, older ones nothing. */
export const PORT_SIGNATURE = 3;

/** Control port, [1] 1.4.1: hard reset, soft reset, interrupt reset, SCSI bus reset. */
export const CONTROL_HRST = 0x80;
export const CONTROL_SRST = 0x40;
export const CONTROL_IRST = 0x20;
export const CONTROL_SCRST = 0x10;

/** Status port, [1] 1.4.2. */
export const STATUS_STST = 0x80;
export const STATUS_DIAGF = 0x40;
export const STATUS_INIT = 0x20;
export const STATUS_IDLE = 0x10;
export const STATUS_CDF = 0x08;
export const STATUS_DF = 0x04;
export const STATUS_INVDCMD = 0x01;

/** Interrupt flags, [1] 1.4.5: any, bus reset detected, command complete, mailbox out empty, in full. */
export const INTERRUPT_ANY = 0x80;
export const INTERRUPT_SCRD = 0x08;
export const INTERRUPT_HACC = 0x04;
export const INTERRUPT_MBOE = 0x02;
export const INTERRUPT_MBIF = 0x01;

/** Adapter commands, [1] chapter 3; 22h and up [3]. */
export const CMD_NOP = 0x00;
export const CMD_MAILBOX_INIT = 0x01;
export const CMD_START_SCSI = 0x02;
export const CMD_START_BIOS = 0x03;
export const CMD_INQUIRY = 0x04;
export const CMD_ENABLE_MBOE = 0x05;
export const CMD_SELECTION_TIMEOUT = 0x06;
export const CMD_BUS_ON = 0x07;
export const CMD_BUS_OFF = 0x08;
export const CMD_SPEED = 0x09;
export const CMD_INSTALLED_DEVICES = 0x0a;
export const CMD_CONFIGURATION = 0x0b;
export const CMD_TARGET_MODE = 0x0c;
export const CMD_SETUP_DATA = 0x0d;
export const CMD_WRITE_BUFFER = 0x1a;
export const CMD_READ_BUFFER = 0x1b;
export const CMD_WRITE_FIFO = 0x1c;
export const CMD_READ_FIFO = 0x1d;
export const CMD_ECHO = 0x1f;
export const CMD_DIAGNOSTIC = 0x20;
export const CMD_OPTIONS = 0x21;
export const CMD_WRITE_EEPROM = 0x22;
export const CMD_READ_EEPROM = 0x23;
export const CMD_SHADOW_RAM = 0x24;
export const CMD_BIOS_MAILBOX_INIT = 0x25;
export const CMD_BIOS_BANK_1 = 0x26;
export const CMD_BIOS_BANK_2 = 0x27;
export const CMD_EXTENDED_BIOS = 0x28;
export const CMD_MAILBOX_ENABLE = 0x29;

/** Adapter inquiry data, [1] 3.5 and [3]: board id, options, firmware revision and version. */
export const INQUIRY_AT_BOARD = 0;
export const BOARD_1542B = 0x41;
export const BOARD_1542C = 0x44;
export const BOARD_1542CF = 0x45;

/** Return setup data, [1] 3.14: offsets, and how many bytes there are. */
export const SETUP_AT_FLAGS = 0;
export const SETUP_AT_SPEED = 1;
export const SETUP_AT_BUS_ON = 2;
export const SETUP_AT_BUS_OFF = 3;
export const SETUP_AT_MAILBOXES = 4;
export const SETUP_AT_ADDRESS = 5;
export const SETUP_AT_DISCONNECT = 16;
export const SETUP_AT_BIOS_MAILBOX = 41;

/** Bytes of the buffer behind DMA channel 2 and of the FIFO, [1] 3.15 to 3.18, and of the EEPROM, [3]. */
export const BUFFER_BYTES = 64;
export const FIFO_BYTES = 54;
export const EEPROM_BYTES = 32;

/** Mailboxes, [1] 2.1: four bytes each, first the out mailboxes, then as many in mailboxes. */
export const MAILBOX_BYTES = 4;
export const MBO_FREE = 0x00;
export const MBO_START = 0x01;
export const MBO_ABORT = 0x02;
export const MBI_FREE = 0x00;
export const MBI_SUCCESS = 0x01;
export const MBI_ABORTED = 0x02;
export const MBI_NOT_FOUND = 0x03;
export const MBI_ERROR = 0x04;

/** Command control block, [1] 2.2. Addresses and lengths are big-endian. */
export const CCB_AT_OPCODE = 0;
export const CCB_AT_ADDRESS = 1;
export const CCB_AT_CDB_LENGTH = 2;
export const CCB_AT_SENSE_LENGTH = 3;
export const CCB_AT_DATA_LENGTH = 4;
export const CCB_AT_DATA_POINTER = 7;
export const CCB_AT_LINK = 10;
export const CCB_AT_LINK_ID = 13;
export const CCB_AT_HOST_STATUS = 14;
export const CCB_AT_TARGET_STATUS = 15;
export const CCB_AT_CDB = 18;

export const OPCODE_INITIATOR = 0x00;
export const OPCODE_TARGET = 0x01;
export const OPCODE_SCATTER = 0x02;
export const OPCODE_INITIATOR_RESIDUAL = 0x03;
export const OPCODE_SCATTER_RESIDUAL = 0x04;
export const OPCODE_DEVICE_RESET = 0x81;

/** Byte 1: target, direction, unit. Direction 0 lets the target say, without a check of the length. */
export const CCB_TARGET_SHIFT = 5;
export const CCB_DIRECTION_SHIFT = 3;
export const CCB_UNIT_MASK = 0x07;
export const DIRECTION_ANY = 0;
export const DIRECTION_IN = 1;
export const DIRECTION_OUT = 2;
export const DIRECTION_NONE = 3;

/** Sense length: 0 asks for 14 bytes, 1 for none. */
export const SENSE_DEFAULT = 14;
export const SENSE_DISABLED = 1;

/** A segment of a scatter-gather list: three bytes of length, three of address, [1] 2.2.3. */
export const SEGMENT_BYTES = 6;
export const SEGMENTS_MAX = 17;

/** Host adapter status, [1] 2.2.1. */
export const HOST_OK = 0x00;
export const HOST_SELECTION_TIMEOUT = 0x11;
export const HOST_OVERRUN = 0x12;
export const HOST_BUS_FREE = 0x13;
export const HOST_BAD_MAILBOX = 0x15;
export const HOST_BAD_OPCODE = 0x16;
export const HOST_BAD_DIRECTION = 0x18;
export const HOST_DUPLICATE = 0x19;
export const HOST_BAD_PARAMETER = 0x1a;

// Words of a profile.
export const PROFILE_PORT = 8;
export const PROFILE_IRQ = 9;
export const PROFILE_DMA = 10;
export const PROFILE_HOST_ID = 11;
export const PROFILE_BOARD = 12;
export const PROFILE_OPTIONS = 13;
export const PROFILE_FIRMWARE = 14;
export const PROFILE_VERSION = 15;
export const PROFILE_EXTENDED = 16;
export const PROFILE_BIOS_FLAGS = 17;
export const PROFILE_LOCK = 18;
export const PROFILE_SEGMENTS = 19;
export const PROFILE_SELF_TEST = 20;
export const PROFILE_THICK = 21;

/** The board's own limits: targets, units each, commands that it keeps, ns of a selection timeout. */
export const TARGETS = 8;
export const UNITS = 8;
export const SLOTS = 64;
export const SELECTION_TIMEOUT_NS = 250000000;
