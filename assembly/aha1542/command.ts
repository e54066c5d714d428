// The command port: adapter commands byte by byte, parameters in, answers out ([1] chapter 3).
//
// [1] AHA-1540B/1542B Technical Reference Manual
// [3] AHA-1540CP Technical Reference Manual
import { dmaFetch, dmaStore } from '../bus/dma';
import { get16, get24, put24 } from '../scsi/bytes';
import {
  Aha1542,
  channelBuffer,
  eepromOf,
  fifoOf,
  interrupt,
  isReady,
  NO_COMMAND,
  parametersOf,
  replyOf,
  unitsOf,
} from './board';
import { scanOut } from './mailbox';
import {
  BUFFER_BYTES,
  CMD_BIOS_BANK_1,
  CMD_BIOS_BANK_2,
  CMD_BIOS_MAILBOX_INIT,
  CMD_BUS_OFF,
  CMD_BUS_ON,
  CMD_CONFIGURATION,
  CMD_DIAGNOSTIC,
  CMD_ECHO,
  CMD_ENABLE_MBOE,
  CMD_EXTENDED_BIOS,
  CMD_INQUIRY,
  CMD_INSTALLED_DEVICES,
  CMD_MAILBOX_ENABLE,
  CMD_MAILBOX_INIT,
  CMD_NOP,
  CMD_OPTIONS,
  CMD_READ_BUFFER,
  CMD_READ_EEPROM,
  CMD_READ_FIFO,
  CMD_SELECTION_TIMEOUT,
  CMD_SETUP_DATA,
  CMD_SHADOW_RAM,
  CMD_SPEED,
  CMD_START_SCSI,
  CMD_TARGET_MODE,
  CMD_WRITE_BUFFER,
  CMD_WRITE_EEPROM,
  CMD_WRITE_FIFO,
  EEPROM_BYTES,
  FIFO_BYTES,
  INTERRUPT_HACC,
  SETUP_AT_ADDRESS,
  SETUP_AT_BIOS_MAILBOX,
  SETUP_AT_BUS_OFF,
  SETUP_AT_BUS_ON,
  SETUP_AT_DISCONNECT,
  SETUP_AT_FLAGS,
  SETUP_AT_MAILBOXES,
  SETUP_AT_SPEED,
  STATUS_INIT,
  STATUS_INVDCMD,
  TARGETS,
} from './regs';
import { hardReset } from './reset';

const NS_PER_MS: u64 = 1_000_000;
/** Parameters of a command that the board does not know. */
const UNKNOWN: u32 = 0xff;

/** A byte at the command port. */
export function writeCommand(d: Aha1542, value: u32): void {
  if (d.testing != 0) return;
  if (d.portCommand == NO_COMMAND) return begin(d, value);
  store<u8>(parametersOf(d) + d.parameters, <u8>value);
  d.parameters++;
  // SET OPTIONS says in its first parameter how many more come.
  if (d.parameters == 1 && d.portCommand == CMD_OPTIONS) d.expected += value;
  if (d.parameters >= d.expected) execute(d);
}

function begin(d: Aha1542, command: u32): void {
  // A new command drops what the host has not read of the last answer.
  d.replyBytes = 0;
  d.latched &= ~STATUS_INVDCMD;
  if (command == CMD_START_SCSI) {
    if (!isReady(d)) return refuse(d);
    return scanOut(d);
  }
  d.portCommand = command;
  d.parameters = 0;
  d.expected = parametersOfCommand(d, command);
  if (d.expected == UNKNOWN) return refuse(d);
  if (d.expected == 0) execute(d);
}

function parametersOfCommand(d: Aha1542, command: u32): u32 {
  if (command >= <u32>CMD_WRITE_EEPROM && d.extended == 0) return UNKNOWN;
  switch (command) {
    case CMD_NOP:
    case CMD_INQUIRY:
    case CMD_INSTALLED_DEVICES:
    case CMD_CONFIGURATION:
    case CMD_DIAGNOSTIC:
    case CMD_BIOS_BANK_1:
    case CMD_BIOS_BANK_2:
    case CMD_EXTENDED_BIOS:
      return 0;
    case CMD_ENABLE_MBOE:
    case CMD_BUS_ON:
    case CMD_BUS_OFF:
    case CMD_SPEED:
    case CMD_SETUP_DATA:
    case CMD_ECHO:
    case CMD_OPTIONS:
    case CMD_SHADOW_RAM:
      return 1;
    case CMD_TARGET_MODE:
    case CMD_MAILBOX_ENABLE:
      return 2;
    case CMD_WRITE_BUFFER:
    case CMD_READ_BUFFER:
    case CMD_WRITE_FIFO:
    case CMD_READ_FIFO:
    case CMD_READ_EEPROM:
      return 3;
    case CMD_MAILBOX_INIT:
    case CMD_SELECTION_TIMEOUT:
    case CMD_BIOS_MAILBOX_INIT:
      return 4;
    case CMD_WRITE_EEPROM:
      return 3 + EEPROM_BYTES;
    default:
      // START BIOS (03h) too: there is no BIOS on the board that could have left a command.
      return UNKNOWN;
  }
}

/** The command and its parameters are here. */
function execute(d: Aha1542): void {
  const p = parametersOf(d);
  switch (d.portCommand) {
    case CMD_MAILBOX_INIT:
      return initMailboxes(d);
    case CMD_ENABLE_MBOE:
      return enableEmpty(d, load<u8>(p));
    case CMD_INQUIRY:
    case CMD_INSTALLED_DEVICES:
    case CMD_CONFIGURATION:
    case CMD_SETUP_DATA:
    case CMD_ECHO:
    case CMD_EXTENDED_BIOS:
      return answer(d);
    case CMD_SELECTION_TIMEOUT:
      d.selectionTimeout = load<u8>(p) == 0 ? 0 : <u64>get16(p + 2) * NS_PER_MS;
      return finish(d);
    case CMD_BUS_ON:
      return setBusOn(d, load<u8>(p));
    case CMD_BUS_OFF:
      return setBusOff(d, load<u8>(p));
    case CMD_SPEED:
      d.speed = load<u8>(p);
      return finish(d);
    case CMD_TARGET_MODE:
      d.targetUnits = load<u8>(p) == 0 ? 0 : load<u8>(p, 1);
      return finish(d);
    case CMD_WRITE_BUFFER:
      return fill(d, channelBuffer(d), BUFFER_BYTES);
    case CMD_READ_BUFFER:
      return drain(d, channelBuffer(d), BUFFER_BYTES);
    case CMD_WRITE_FIFO:
      return fill(d, fifoOf(d), FIFO_BYTES);
    case CMD_READ_FIFO:
      return drain(d, fifoOf(d), FIFO_BYTES);
    case CMD_DIAGNOSTIC:
      d.portCommand = NO_COMMAND;
      return hardReset(d, true);
    case CMD_OPTIONS:
      if (d.parameters > 1) d.disconnect = load<u8>(p, 1);
      return finish(d);
    case CMD_WRITE_EEPROM:
    case CMD_READ_EEPROM:
      return eeprom(d);
    case CMD_BIOS_MAILBOX_INIT:
      d.biosMailbox = get24(p + 1);
      return finish(d);
    case CMD_MAILBOX_ENABLE:
      return enableMailbox(d);
    default: // NOP; shadow RAM and the BIOS banks, which nothing here reads.
      return finish(d);
  }
}

function finish(d: Aha1542): void {
  d.portCommand = NO_COMMAND;
  interrupt(d, INTERRUPT_HACC);
}

/** Unknown command, bad parameter, or a command out of place: INVDCMD, and the command is over. */
function refuse(d: Aha1542): void {
  d.latched |= STATUS_INVDCMD;
  finish(d);
}

/** [1] 3.2. The in mailboxes follow the out mailboxes; both rounds begin anew. */
function initMailboxes(d: Aha1542): void {
  const p = parametersOf(d);
  if (load<u8>(p) == 0 || d.lock != 0) return refuse(d);
  d.mailboxes = load<u8>(p);
  d.mailboxAddress = get24(p + 1);
  d.nextOut = 0;
  d.nextIn = 0;
  d.latched &= ~STATUS_INIT;
  finish(d);
}

/** [1] 3.6: as START SCSI, this one ends without the command-complete interrupt. */
function enableEmpty(d: Aha1542, enable: u32): void {
  if (enable > 1) return refuse(d);
  d.reportsEmpty = enable;
  d.portCommand = NO_COMMAND;
}

/** µs, [1] 3.8: 2 to 15. */
function setBusOn(d: Aha1542, us: u32): void {
  if (us < 2 || us > 15) return refuse(d);
  d.busOn = us;
  finish(d);
}

/** µs, [1] 3.9: 0 to 64. */
function setBusOff(d: Aha1542, us: u32): void {
  if (us > 64) return refuse(d);
  d.busOff = us;
  finish(d);
}

function fill(d: Aha1542, buffer: usize, bytes: u32): void {
  dmaFetch(d, get24(parametersOf(d)), buffer, bytes);
  finish(d);
}

function drain(d: Aha1542, buffer: usize, bytes: u32): void {
  dmaStore(d, get24(parametersOf(d)), buffer, bytes);
  finish(d);
}

/** Parameters: options, length, offset; then the bytes, or the bytes in answer ([3]). */
function eeprom(d: Aha1542): void {
  const p = parametersOf(d);
  const bytes: u32 = load<u8>(p, 1);
  const at: u32 = load<u8>(p, 2);
  if (at + bytes > <u32>EEPROM_BYTES) return refuse(d);
  if (d.portCommand == CMD_WRITE_EEPROM) {
    memory.copy(eepromOf(d) + at, p + 3, bytes);
    return finish(d);
  }
  memory.copy(replyOf(d), eepromOf(d) + at, bytes);
  reply(d, bytes);
}

/** [3]: bit 0 of the first parameter locks, the second is the code that the lock has now. */
function enableMailbox(d: Aha1542): void {
  const p = parametersOf(d);
  if (load<u8>(p, 1) != d.lock) return refuse(d);
  d.lock = (load<u8>(p) & 1) != 0 ? d.lockCode : 0;
  finish(d);
}

/** The commands that answer. */
function answer(d: Aha1542): void {
  const at = replyOf(d);
  const p = parametersOf(d);
  memory.fill(at, 0, 256);
  switch (d.portCommand) {
    case CMD_INQUIRY:
      store<u8>(at, <u8>d.boardId);
      store<u8>(at, <u8>d.boardOptions, 1);
      store<u8>(at, <u8>d.firmware, 2);
      store<u8>(at, <u8>d.version, 3);
      return reply(d, 4);
    case CMD_INSTALLED_DEVICES:
      for (let i: u32 = 0; i < <u32>TARGETS; i++) if (i != d.hostId) store<u8>(at + i, <u8>unitsOf(d, i));
      return reply(d, TARGETS);
    case CMD_CONFIGURATION:
      store<u8>(at, <u8>((<u32>1) << d.dmaChannel));
      store<u8>(at, <u8>((<u32>1) << (d.irq - 9)), 1);
      store<u8>(at, <u8>d.hostId, 2);
      return reply(d, 3);
    case CMD_ECHO:
      store<u8>(at, load<u8>(p));
      return reply(d, 1);
    case CMD_EXTENDED_BIOS:
      store<u8>(at, <u8>d.biosFlags);
      store<u8>(at, <u8>d.lock, 1);
      return reply(d, 2);
    default:
      putSetup(d, at);
      return reply(d, load<u8>(p) == 0 ? 256 : load<u8>(p));
  }
}

/** [1] 3.14: parity and synchronous negotiation are on, every target runs asynchronously. */
function putSetup(d: Aha1542, at: usize): void {
  store<u8>(at, 0x03, SETUP_AT_FLAGS);
  store<u8>(at, <u8>d.speed, SETUP_AT_SPEED);
  store<u8>(at, <u8>d.busOn, SETUP_AT_BUS_ON);
  store<u8>(at, <u8>d.busOff, SETUP_AT_BUS_OFF);
  store<u8>(at, <u8>d.mailboxes, SETUP_AT_MAILBOXES);
  put24(at + SETUP_AT_ADDRESS, d.mailboxAddress);
  store<u8>(at, <u8>d.disconnect, SETUP_AT_DISCONNECT);
  put24(at + SETUP_AT_BIOS_MAILBOX, d.biosMailbox);
}

/** Command complete follows when the host has read all. */
function reply(d: Aha1542, bytes: u32): void {
  d.portCommand = NO_COMMAND;
  d.replyAt = 0;
  d.replyBytes = bytes;
  if (bytes == 0) interrupt(d, INTERRUPT_HACC);
}

/** A byte at the data port; zero where no answer waits. */
export function readData(d: Aha1542): u32 {
  if (d.replyBytes == 0) return 0;
  const value = load<u8>(replyOf(d) + d.replyAt);
  d.replyAt++;
  d.replyBytes--;
  if (d.replyBytes == 0) interrupt(d, INTERRUPT_HACC);
  return value;
}
