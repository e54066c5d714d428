// Features ([1] 5.9, 5.21; references in controller.ts): a table of current and saved values by identifier, and the two
// that are longer than a dword. Saved values outlive every reset.
import { now } from '../bus/clock';
import { functionOf } from '../bus/device';
import { moveBuffer, moveEnd } from '../bus/mover';
import { msixEnabled } from '../bus/msix';
import { bit, Command, completionsAt, FEATURE_COUNT, isActive, Nvme, queueAt } from './controller';
import { walkData } from './data';
import { raiseEvent } from './events';
import { complete } from './queue';
import {
  NVME_EVENT_SMART,
  NVME_EVENT_TEMPERATURE,
  NVME_FEATURE_ARBITRATION,
  NVME_FEATURE_ATOMICITY,
  NVME_FEATURE_COALESCING,
  NVME_FEATURE_EVENTS,
  NVME_FEATURE_HOST_ID,
  NVME_FEATURE_POWER,
  NVME_FEATURE_QUEUES,
  NVME_FEATURE_RECOVERY,
  NVME_FEATURE_SAVE,
  NVME_FEATURE_TEMPERATURE,
  NVME_FEATURE_TIMESTAMP,
  NVME_FEATURE_VECTOR,
  NVME_FEATURE_WRITE_CACHE,
  NVME_INVALID_FIELD,
  NVME_INVALID_NAMESPACE,
  NVME_NOT_NAMESPACE,
  NVME_NOT_SAVEABLE,
  NVME_SELECT_CAPABILITIES,
  NVME_SELECT_DEFAULT,
  NVME_SELECT_SAVED,
  NVME_SEQUENCE,
  NVME_SUCCESS,
} from './regs';

const ALL_NAMESPACES: u32 = 0xffffffff;
/** The threshold below the temperature has the place of a feature that is not there. */
const UNDER: u32 = 0x03;
/** Composite temperature in kelvin, and the threshold above it as made. */
export const TEMPERATURE: u32 = 300;
const OVER_DEFAULT: u32 = 343;
const CAN_SAVE: u32 = 1;
const OF_NAMESPACE: u32 = 2;
const CAN_CHANGE: u32 = 4;
const MS_NS: u64 = 1_000_000;

/** Current value of a feature below FEATURE_COUNT. */
export function feature(d: Nvme, id: u32): u32 {
  return load<u32>(d.features + (id << 3));
}

function setFeature(d: Nvme, id: u32, value: u32): void {
  store<u32>(d.features + (id << 3), value);
}

/** As made: every feature its default, which is saved too. */
export function makeFeatures(d: Nvme): void {
  for (let id: u32 = 0; id < FEATURE_COUNT; id++) store<u32>(d.features + (id << 3), defaultOf(d, id), 4);
  restoreFeatures(d);
}

/** After a reset: what is saved. */
export function restoreFeatures(d: Nvme): void {
  for (let id: u32 = 0; id < FEATURE_COUNT; id++) setFeature(d, id, load<u32>(d.features + (id << 3), 4));
  d.coalesceOff = 0;
  d.queuesAllowed = d.queueCount;
  d.hostId0 = 0;
  d.hostId1 = 0;
}

function defaultOf(d: Nvme, id: u32): u32 {
  // Bursts of eight; weights 1.
  if (id == <u32>NVME_FEATURE_ARBITRATION) return 3;
  if (id == <u32>NVME_FEATURE_TEMPERATURE) return OVER_DEFAULT;
  return id == <u32>NVME_FEATURE_WRITE_CACHE && d.cache != 0 ? 1 : 0;
}

function capabilitiesOf(d: Nvme, id: u32): u32 {
  switch (id) {
    case NVME_FEATURE_WRITE_CACHE:
      return d.cache != 0 ? CAN_SAVE | CAN_CHANGE : 0;
    case NVME_FEATURE_ARBITRATION:
    case NVME_FEATURE_TEMPERATURE:
    case NVME_FEATURE_COALESCING:
    case NVME_FEATURE_ATOMICITY:
    case NVME_FEATURE_EVENTS:
      return CAN_SAVE | CAN_CHANGE;
    case NVME_FEATURE_RECOVERY:
      return OF_NAMESPACE | CAN_CHANGE;
    case NVME_FEATURE_POWER:
    case NVME_FEATURE_QUEUES:
    case NVME_FEATURE_VECTOR:
    case NVME_FEATURE_TIMESTAMP:
    case NVME_FEATURE_HOST_ID:
      return CAN_CHANGE;
    default:
      return 0;
  }
}

/** Get Features ([1] 5.9). */
function getFeatures(d: Nvme, c: Command): u32 {
  const id = c.cdw10 & 0xff;
  const select = (c.cdw10 >>> 8) & 7;
  const capabilities = capabilitiesOf(d, id);
  if (capabilities == 0 || select > <u32>NVME_SELECT_CAPABILITIES) return NVME_INVALID_FIELD;
  if (select == <u32>NVME_SELECT_CAPABILITIES) {
    c.result = capabilities;
    return NVME_SUCCESS;
  }
  if (id == <u32>NVME_FEATURE_TIMESTAMP) return getTimestamp(d, c);
  if (id == <u32>NVME_FEATURE_HOST_ID) return getHostId(d, c);
  if ((capabilities & OF_NAMESPACE) != 0 && !isActive(d, c.nsid)) return NVME_INVALID_NAMESPACE;
  const current = select == 0 || (capabilities & CAN_SAVE) == 0;
  c.result =
    select == <u32>NVME_SELECT_DEFAULT ? defaultOf(d, id) : current ? feature(d, id) : savedOf(d, id);
  if (select == <u32>NVME_SELECT_SAVED && (capabilities & CAN_SAVE) == 0) c.result = defaultOf(d, id);
  if (id == <u32>NVME_FEATURE_QUEUES) c.result = (d.queuesAllowed - 1) * 0x10001;
  else if (id == <u32>NVME_FEATURE_VECTOR) return getVector(d, c);
  else if (id == <u32>NVME_FEATURE_TEMPERATURE) return getThreshold(d, c, select);
  return NVME_SUCCESS;
}

function savedOf(d: Nvme, id: u32): u32 {
  return load<u32>(d.features + (id << 3), 4);
}

function getVector(d: Nvme, c: Command): u32 {
  const vector = c.cdw11 & 0xffff;
  if (vector >= d.vectors) return NVME_INVALID_FIELD;
  c.result = vector | ((d.coalesceOff & bit(vector)) != 0 ? 0x10000 : 0);
  return NVME_SUCCESS;
}

/** [1] 5.21.1.4: the composite temperature alone has thresholds. */
function thresholdId(cdw11: u32): u32 {
  const sensor = (cdw11 >>> 16) & 15;
  const type = (cdw11 >>> 20) & 3;
  if (sensor != 0 && sensor != 15) return 0;
  return type == 0 ? <u32>NVME_FEATURE_TEMPERATURE : type == 1 ? UNDER : 0;
}

function getThreshold(d: Nvme, c: Command, select: u32): u32 {
  const id = thresholdId(c.cdw11);
  if (id == 0 || ((c.cdw11 >>> 16) & 15) == 15) return NVME_INVALID_FIELD;
  c.result = select == 0 ? feature(d, id) : select == 1 ? defaultOf(d, id) : savedOf(d, id);
  return NVME_SUCCESS;
}

/** Set Features ([1] 5.21). */
function setFeatures(d: Nvme, c: Command): u32 {
  const id = c.cdw10 & 0xff;
  const capabilities = capabilitiesOf(d, id);
  const save = (c.cdw10 & NVME_FEATURE_SAVE) != 0;
  if (capabilities == 0) return NVME_INVALID_FIELD;
  if (save && (capabilities & CAN_SAVE) == 0) return NVME_NOT_SAVEABLE;
  if ((capabilities & OF_NAMESPACE) != 0) {
    if (c.nsid != ALL_NAMESPACES && !isActive(d, c.nsid)) return NVME_INVALID_NAMESPACE;
  } else if (c.nsid != 0 && c.nsid != ALL_NAMESPACES) {
    return NVME_NOT_NAMESPACE;
  }
  switch (id) {
    case NVME_FEATURE_POWER:
      // One power state, 0.
      return (c.cdw11 & 0x1f) == 0 ? NVME_SUCCESS : <u32>NVME_INVALID_FIELD;
    case NVME_FEATURE_RECOVERY:
      // Deallocated blocks read as zeroes and are no error: DULBE is not there.
      if ((c.cdw11 & 0x10000) != 0) return NVME_INVALID_FIELD;
      break;
    case NVME_FEATURE_QUEUES:
      return setQueues(d, c);
    case NVME_FEATURE_VECTOR:
      return setVector(d, c);
    case NVME_FEATURE_TEMPERATURE:
      return setThreshold(d, c, save);
    case NVME_FEATURE_TIMESTAMP:
      return setTimestamp(d, c);
    case NVME_FEATURE_HOST_ID:
      return setHostId(d, c);
  }
  const value = c.cdw11 & maskOf(id);
  setFeature(d, id, value);
  if (save) store<u32>(d.features + (id << 3), value, 4);
  return NVME_SUCCESS;
}

/** Bits of dword 11 that mean something. */
function maskOf(id: u32): u32 {
  switch (id) {
    case NVME_FEATURE_ARBITRATION:
      return 0xffffff07;
    case NVME_FEATURE_WRITE_CACHE:
    case NVME_FEATURE_ATOMICITY:
      return 1;
    case NVME_FEATURE_EVENTS:
      return 0x3ff;
    default:
      return 0xffff;
  }
}

/** [1] 5.21.1.7: before the first I/O queue is made. */
function setQueues(d: Nvme, c: Command): u32 {
  const submissions = c.cdw11 & 0xffff;
  const completions = c.cdw11 >>> 16;
  if (submissions == 0xffff || completions == 0xffff) return NVME_INVALID_FIELD;
  for (let i: u32 = 1; i <= d.queueCount; i++)
    if (queueAt(d, i).exists != 0 || completionsAt(d, i).exists != 0) return NVME_SEQUENCE;
  d.queuesAllowed = d.queueCount;
  c.result = (d.queueCount - 1) * 0x10001;
  return NVME_SUCCESS;
}

function setVector(d: Nvme, c: Command): u32 {
  const vector = c.cdw11 & 0xffff;
  if (vector >= d.vectors || (vector != 0 && !msixEnabled(functionOf(d)))) return NVME_INVALID_FIELD;
  if ((c.cdw11 & 0x10000) != 0) d.coalesceOff |= bit(vector);
  else d.coalesceOff &= ~bit(vector);
  return NVME_SUCCESS;
}

function setThreshold(d: Nvme, c: Command, save: bool): u32 {
  const id = thresholdId(c.cdw11);
  if (id == 0) return NVME_INVALID_FIELD;
  setFeature(d, id, c.cdw11 & 0xffff);
  if (save) store<u32>(d.features + (id << 3), c.cdw11 & 0xffff, 4);
  const over = TEMPERATURE >= feature(d, NVME_FEATURE_TEMPERATURE);
  const warning: u32 = over || TEMPERATURE <= feature(d, UNDER) ? 2 : 0;
  const rises = warning != 0 && d.warning == 0;
  d.warning = warning;
  if (rises && (feature(d, NVME_FEATURE_EVENTS) & warning) != 0)
    raiseEvent(d, NVME_EVENT_SMART, NVME_EVENT_TEMPERATURE);
  return NVME_SUCCESS;
}

/** [1] 5.21.1.14: milliseconds, counted on from what was set last; its origin in bits 1 to 3 of byte 6. */
function getTimestamp(d: Nvme, c: Command): u32 {
  const passed = (now() - d.timestampAt) / MS_NS;
  store<u64>(d.page, ((d.timestamp + passed) & 0xffffffffffff) | (d.timestampSet != 0 ? (<u64>2) << 48 : 0));
  return give(d, c, 8);
}

function setTimestamp(d: Nvme, c: Command): u32 {
  const status = take(d, c, 8);
  if (status != NVME_SUCCESS) return status;
  d.timestamp = load<u64>(d.page) & 0xffffffffffff;
  d.timestampAt = now();
  d.timestampSet = 1;
  return NVME_SUCCESS;
}

/** [1] 5.21.1.25: 64 or 128 bits. */
function getHostId(d: Nvme, c: Command): u32 {
  store<u64>(d.page, d.hostId0);
  store<u64>(d.page, d.hostId1, 8);
  return give(d, c, (c.cdw11 & 1) != 0 ? 16 : 8);
}

function setHostId(d: Nvme, c: Command): u32 {
  if (d.hostId0 != 0 || d.hostId1 != 0) return NVME_SEQUENCE;
  store<u64>(d.page, 0, 8);
  const status = take(d, c, (c.cdw11 & 1) != 0 ? 16 : 8);
  if (status != NVME_SUCCESS) return status;
  d.hostId0 = load<u64>(d.page);
  d.hostId1 = load<u64>(d.page, 8);
  return NVME_SUCCESS;
}

/** Moves the first bytes of the page to the host. */
function give(d: Nvme, c: Command, bytes: u32): u32 {
  moveBuffer(d.page, true);
  const status = walkData(d, c, bytes, bytes, true);
  moveEnd();
  return status;
}

/** And from there. */
function take(d: Nvme, c: Command, bytes: u32): u32 {
  moveBuffer(d.page, false);
  const status = walkData(d, c, bytes, bytes, false);
  moveEnd();
  return status;
}

/** An admin command of the table above. */
export function runFeatures(d: Nvme, c: Command, set: bool): void {
  complete(d, c, set ? setFeatures(d, c) : getFeatures(d, c));
}
