// Log pages ([1] 5.14.1; references in controller.ts): made in the controller's page, from its first byte on.
import { ERROR_ENTRIES, FIRMWARE_SLOTS, Nvme, PAGE } from './controller';
import { TEMPERATURE } from './features';
import { revision } from './identify';
import {
  NVME_ADMIN_ABORT,
  NVME_ADMIN_ASYNC_EVENT,
  NVME_ADMIN_CREATE_CQ,
  NVME_ADMIN_CREATE_SQ,
  NVME_ADMIN_DELETE_CQ,
  NVME_ADMIN_DELETE_SQ,
  NVME_ADMIN_FIRMWARE_COMMIT,
  NVME_ADMIN_FIRMWARE_DOWNLOAD,
  NVME_ADMIN_FORMAT,
  NVME_ADMIN_GET_FEATURES,
  NVME_ADMIN_GET_LOG_PAGE,
  NVME_ADMIN_IDENTIFY,
  NVME_ADMIN_SET_FEATURES,
  NVME_COMPARE,
  NVME_DSM,
  NVME_FLUSH,
  NVME_LOG_CHANGED_NAMESPACES,
  NVME_LOG_COMMANDS,
  NVME_LOG_ERROR,
  NVME_LOG_FIRMWARE,
  NVME_LOG_SMART,
  NVME_READ,
  NVME_VERIFY,
  NVME_WRITE,
  NVME_WRITE_ZEROES,
} from './regs';

const ENTRY_BYTES: u32 = 64;
const SHORT_LOG: u32 = 512;
/** Commands supported: 256 of each set, and a reserved half. */
const IO_AT: u32 = 1024;
const SUPPORTED: u32 = 1;
/** And it changes blocks; and it changes the namespace. */
const CHANGES_BLOCKS: u32 = 3;
const CHANGES_NAMESPACE: u32 = 7;
/** Thousands of units of 512 bytes. */
const DATA_UNIT: u64 = 1000;

/** Makes log `id`; its bytes, 0: there is no such log. */
export function makeLog(d: Nvme, id: u32): u32 {
  switch (id) {
    case NVME_LOG_ERROR:
      return errors(d);
    case NVME_LOG_SMART:
      return smart(d);
    case NVME_LOG_FIRMWARE:
      return slots(d);
    case NVME_LOG_CHANGED_NAMESPACES:
      return changed(d);
    case NVME_LOG_COMMANDS:
      return commands(d);
    default:
      return 0;
  }
}

/** The newest entry first. */
function errors(d: Nvme): u32 {
  const entries = d.errorCount < <u64>ERROR_ENTRIES ? <u32>d.errorCount : ERROR_ENTRIES;
  for (let i: u32 = 0; i < entries; i++) {
    const from = <u32>((d.errorCount - 1 - i) % <u64>ERROR_ENTRIES);
    memory.copy(<usize>d.page + i * ENTRY_BYTES, <usize>d.errors + from * ENTRY_BYTES, ENTRY_BYTES);
  }
  return ERROR_ENTRIES * ENTRY_BYTES;
}

function smart(d: Nvme): u32 {
  const page: usize = d.page;
  store<u8>(page, <u8>d.warning);
  store<u16>(page, <u16>TEMPERATURE, 1);
  // Spare, and its threshold.
  store<u8>(page, 100, 3);
  store<u8>(page, 10, 4);
  store<u64>(page, (d.blocksRead + DATA_UNIT - 1) / DATA_UNIT, 32);
  store<u64>(page, (d.blocksWritten + DATA_UNIT - 1) / DATA_UNIT, 48);
  store<u64>(page, d.reads, 64);
  store<u64>(page, d.writes, 80);
  store<u64>(page, d.powerCycles, 112);
  store<u64>(page, d.unsafe, 144);
  store<u64>(page, d.mediaErrors, 160);
  store<u64>(page, d.errorCount, 176);
  return SHORT_LOG;
}

function slots(d: Nvme): u32 {
  const next = d.firmwareNext == d.firmwareSlot ? 0 : d.firmwareNext;
  store<u8>(d.page, <u8>(d.firmwareSlot | (next << 4)));
  for (let slot: u32 = 1; slot <= FIRMWARE_SLOTS; slot++) store<u64>(d.page + (slot << 3), revision(d, slot));
  return SHORT_LOG;
}

function changed(d: Nvme): u32 {
  let at: usize = d.page;
  for (let i: u32 = 0; i < d.namespaceCount; i++) {
    if ((d.changed & (1 << i)) == 0) continue;
    store<u32>(at, i + 1);
    at += 4;
  }
  return PAGE;
}

function commands(d: Nvme): u32 {
  admin(d, NVME_ADMIN_DELETE_SQ, SUPPORTED);
  admin(d, NVME_ADMIN_CREATE_SQ, SUPPORTED);
  admin(d, NVME_ADMIN_GET_LOG_PAGE, SUPPORTED);
  admin(d, NVME_ADMIN_DELETE_CQ, SUPPORTED);
  admin(d, NVME_ADMIN_CREATE_CQ, SUPPORTED);
  admin(d, NVME_ADMIN_IDENTIFY, SUPPORTED);
  admin(d, NVME_ADMIN_ABORT, SUPPORTED);
  admin(d, NVME_ADMIN_SET_FEATURES, SUPPORTED);
  admin(d, NVME_ADMIN_GET_FEATURES, SUPPORTED);
  admin(d, NVME_ADMIN_ASYNC_EVENT, SUPPORTED);
  admin(d, NVME_ADMIN_FIRMWARE_COMMIT, SUPPORTED);
  admin(d, NVME_ADMIN_FIRMWARE_DOWNLOAD, SUPPORTED);
  admin(d, NVME_ADMIN_FORMAT, CHANGES_NAMESPACE);
  io(d, NVME_FLUSH, SUPPORTED);
  io(d, NVME_WRITE, CHANGES_BLOCKS);
  io(d, NVME_READ, SUPPORTED);
  io(d, NVME_COMPARE, SUPPORTED);
  io(d, NVME_WRITE_ZEROES, CHANGES_BLOCKS);
  io(d, NVME_DSM, CHANGES_BLOCKS);
  io(d, NVME_VERIFY, SUPPORTED);
  return PAGE;
}

function admin(d: Nvme, opcode: u32, effects: u32): void {
  store<u32>(<usize>d.page + (opcode << 2), effects);
}
function io(d: Nvme, opcode: u32, effects: u32): void {
  store<u32>(<usize>d.page + IO_AT + (opcode << 2), effects);
}
