// The SCRIPTS processor: fetches instructions by DMA and executes them, except block moves (move.ts), until it waits
// for the bus, is stopped, or has used up its share of time; then the CPU gets on, and so does virtual time. A
// program that does nothing but run is stopped at a bound, and reported (references in chip.ts).
import { schedule } from '../bus/clock';
import { DMA_OK } from '../bus/codes';
import { guardLoop } from '../bus/guard';
import { AT_SCRATCH } from '../bus/layout';
import { beginArbitration, releaseAck, setAtn, waitForPhase } from './bus';
import {
  clearBits,
  EVENT_RUN,
  get8,
  get32,
  isBlockMove,
  isConnected,
  Lsi,
  set8,
  set32,
  setBits,
  stillWaits,
  WAIT_ARBITRATION,
  WAIT_BUS_FREE,
  WAIT_NOTHING,
  WAIT_PHASE,
  WAIT_RESELECTION,
  WAIT_SELECTION,
  wake,
} from './chip';
import { cancelWait, postDma, postOnTheFly } from './interrupt';
import {
  chipRead,
  chipWrite,
  fetchWords,
  isOwnRegister,
  loadBytes,
  storeBytes,
  uniform,
  wideAddress,
} from './memory';
import { beginMove, continueMove, signed24 } from './move';
import { readRegister, readWord, writeRegister, writeWord } from './registers';
import {
  LSI_ADDER,
  LSI_DBC,
  LSI_DCNTL,
  LSI_DCNTL_SSM,
  LSI_DMODE,
  LSI_DMODE_DIOM,
  LSI_DMODE_SIOM,
  LSI_DNAD,
  LSI_DRS,
  LSI_DSA,
  LSI_DSP,
  LSI_DSPS,
  LSI_DSTAT_ABRT,
  LSI_DSTAT_BF,
  LSI_DSTAT_IID,
  LSI_DSTAT_SIR,
  LSI_DSTAT_SSI,
  LSI_ISTAT0,
  LSI_ISTAT0_SIGP,
  LSI_ISTAT1,
  LSI_ISTAT1_SRUN,
  LSI_MMRS,
  LSI_MMWS,
  LSI_SCNTL0,
  LSI_SCNTL0_TRG,
  LSI_SCNTL3,
  LSI_SDID,
  LSI_SFBR,
  LSI_SFS,
  LSI_SSTAT1,
  LSI_SSTAT1_PHASE,
  LSI_SXFER,
  LSI_TEMP,
} from './regs';
import {
  SCRIPT_BLOCK_MOVE,
  SCRIPT_CALL,
  SCRIPT_CLEAR,
  SCRIPT_COMPARE_DATA,
  SCRIPT_COMPARE_PHASE,
  SCRIPT_COUNT_MASK,
  SCRIPT_DATA_SHIFT,
  SCRIPT_FROM_SFBR,
  SCRIPT_IF_CARRY,
  SCRIPT_IF_TRUE,
  SCRIPT_INT,
  SCRIPT_INTFLY,
  SCRIPT_IO,
  SCRIPT_IO_ATN,
  SCRIPT_IO_ID_MASK,
  SCRIPT_IO_ID_SHIFT,
  SCRIPT_IO_RELATIVE,
  SCRIPT_IO_TABLE,
  SCRIPT_JUMP,
  SCRIPT_JUMP64,
  SCRIPT_LOAD_STORE,
  SCRIPT_LS_COUNT_MASK,
  SCRIPT_LS_DSA,
  SCRIPT_LS_LOAD,
  SCRIPT_LS_REGISTER_MASK,
  SCRIPT_LS_REGISTER_SHIFT,
  SCRIPT_MASK_SHIFT,
  SCRIPT_OP_ADC,
  SCRIPT_OP_ADD,
  SCRIPT_OP_AND,
  SCRIPT_OP_LOAD,
  SCRIPT_OP_OR,
  SCRIPT_OP_SHL,
  SCRIPT_OP_SHR,
  SCRIPT_OP_XOR,
  SCRIPT_OPCODE_MASK,
  SCRIPT_OPCODE_SHIFT,
  SCRIPT_PHASE_MASK,
  SCRIPT_PHASE_SHIFT,
  SCRIPT_REGISTER_HIGH,
  SCRIPT_REGISTER_MASK,
  SCRIPT_REGISTER_SHIFT,
  SCRIPT_RELATIVE,
  SCRIPT_RETURN,
  SCRIPT_SELECT,
  SCRIPT_SET,
  SCRIPT_SET_ACK,
  SCRIPT_SET_ATN,
  SCRIPT_SET_CARRY,
  SCRIPT_SET_TARGET,
  SCRIPT_TO_SFBR,
  SCRIPT_TRANSFER,
  SCRIPT_TYPE,
  SCRIPT_USE_SFBR,
  SCRIPT_WAIT_DISCONNECT,
  SCRIPT_WAIT_PHASE,
} from './scripts';

/** Instructions that are executed in one go, and what each takes; 64 bytes of data count as one. */
const SHARE: u32 = 512;
const STEP_NS: u64 = 100;
/** Instructions in a row of a program that neither the bus nor the CPU took notice of. */
const STEPS_MAX: u32 = 0x100000;
/** Bytes that a memory move copies at a time. */
const CHUNK: u32 = 1024;
/** Memory moves and load/store: bits of the first word that have no meaning. */
const MEMORY_RESERVED: u32 = 0x1e000000;
const LOAD_STORE_RESERVED: u32 = 0x0c000000;

/** DSP was loaded, or DCNTL.STD set: from there on. */
export function start(d: Lsi): void {
  cancelWait(d);
  d.running = 1;
  d.steps = 0;
  setBits(d, LSI_ISTAT1, LSI_ISTAT1_SRUN);
  wake(d);
}

/** EVENT_RUN. */
export function run(d: Lsi): void {
  d.queued = 0;
  d.executing = 1;
  d.spent = 0;
  // Each round is one instruction, and counts.
  while (d.running != 0 && d.spent < SHARE && !stillWaits(d)) {
    if (d.waiting != WAIT_NOTHING) resume(d);
    else step(d);
    d.spent++;
    if (d.running != 0 && d.waiting == WAIT_NOTHING && (get8(d, LSI_DCNTL) & LSI_DCNTL_SSM) != 0) {
      postDma(d, LSI_DSTAT_SSI);
    }
  }
  d.executing = 0;
  if (d.running == 0 || stillWaits(d)) return;
  d.steps += d.spent;
  if (d.steps < STEPS_MAX) {
    if (schedule(d, EVENT_RUN, 0, <u64>d.spent * STEP_NS)) d.queued = 1;
    return;
  }
  guardLoop(d, wideAddress(d, LSI_SFS, get32(d, LSI_DSP)));
  postDma(d, LSI_DSTAT_ABRT);
}

/** What the instruction in hand waited for is there. */
function resume(d: Lsi): void {
  const waited = d.waiting;
  cancelWait(d);
  if (waited == WAIT_BUS_FREE) d.parted = 0;
  if (waited != WAIT_PHASE) return;
  if (isBlockMove(d)) continueMove(d);
  else transferControl(d, get32(d, LSI_DBC));
}

function step(d: Lsi): void {
  const at = get32(d, LSI_DSP) & ~3;
  if (!fetchWords(d, wideAddress(d, LSI_SFS, at), 8)) return postDma(d, LSI_DSTAT_BF);
  const word = load<u32>(AT_SCRATCH);
  d.instruction = at;
  set32(d, LSI_DBC, word);
  set32(d, LSI_DSPS, load<u32>(AT_SCRATCH, 4));
  set32(d, LSI_DSP, at + 8);
  switch (word & SCRIPT_TYPE) {
    case SCRIPT_BLOCK_MOVE:
      // SeaBIOS, for a command without data: no bytes, to no place. The chip itself refuses it.
      if (word == 0 && get32(d, LSI_DSPS) == 0 && isConnected(d)) return;
      if (beginMove(d)) continueMove(d);
      return;
    case SCRIPT_IO:
      if (opcodeOf(word) < <u32>SCRIPT_FROM_SFBR) inputOutput(d, word);
      else readWrite(d, word);
      return;
    case SCRIPT_TRANSFER:
      return transferControl(d, word);
    default:
      if ((word & SCRIPT_LOAD_STORE) != 0) loadStore(d, word);
      else memoryMove(d, word);
  }
}

function illegal(d: Lsi): void {
  postDma(d, LSI_DSTAT_IID);
}

function opcodeOf(word: u32): u32 {
  return (word >>> SCRIPT_OPCODE_SHIFT) & SCRIPT_OPCODE_MASK;
}

// I/O, [1] 5.3.

function inputOutput(d: Lsi, word: u32): void {
  const opcode = opcodeOf(word);
  const asTarget = (get8(d, LSI_SCNTL0) & LSI_SCNTL0_TRG) != 0;
  if ((word & SCRIPT_IO_ATN) != 0 && (opcode != SCRIPT_SELECT || asTarget)) return illegal(d);
  const alternate = get32(d, LSI_DSPS);
  const relative = (word & SCRIPT_IO_RELATIVE) != 0;
  set32(d, LSI_DNAD, relative ? get32(d, LSI_DSP) + signed24(alternate) : alternate);
  switch (opcode) {
    case SCRIPT_SELECT:
      return select(d, word);
    case SCRIPT_WAIT_DISCONNECT:
      d.waiting = WAIT_BUS_FREE;
      return releaseAck(d);
    case SCRIPT_SET:
      return setOrClear(d, word, true);
    case SCRIPT_CLEAR:
      return setOrClear(d, word, false);
    default:
      return awaitReselection(d, asTarget);
  }
}

function select(d: Lsi, word: u32): void {
  let id = (word >>> SCRIPT_IO_ID_SHIFT) & SCRIPT_IO_ID_MASK;
  if ((word & SCRIPT_IO_TABLE) != 0) {
    const entry = wideAddress(d, LSI_DRS, get32(d, LSI_DSA) + signed24(word));
    if (!fetchWords(d, entry, 4)) return postDma(d, LSI_DSTAT_BF);
    const table = load<u32>(AT_SCRATCH);
    id = (table >>> SCRIPT_IO_ID_SHIFT) & SCRIPT_IO_ID_MASK;
    set8(d, LSI_SCNTL3, table >>> 24);
    set8(d, LSI_SXFER, table >>> 8);
  }
  d.waiting = WAIT_ARBITRATION;
  releaseAck(d);
  d.parted = 0;
  if (isConnected(d)) {
    // A target was faster.
    d.waiting = WAIT_NOTHING;
    set32(d, LSI_DSP, get32(d, LSI_DNAD));
    return;
  }
  set8(d, LSI_SDID, id);
  d.atn = (word & SCRIPT_IO_ATN) != 0 ? 1 : 0;
  beginArbitration(d);
}

/** WAIT RESELECT, and as a target WAIT SELECT, which only a reselection or the signal ends here. */
function awaitReselection(d: Lsi, asTarget: bool): void {
  d.waiting = asTarget ? WAIT_SELECTION : WAIT_RESELECTION;
  releaseAck(d);
  d.parted = 0;
  if (isConnected(d)) {
    d.waiting = WAIT_NOTHING;
    if (asTarget) set32(d, LSI_DSP, get32(d, LSI_DNAD));
  } else if ((get8(d, LSI_ISTAT0) & LSI_ISTAT0_SIGP) != 0) {
    d.waiting = WAIT_NOTHING;
    set32(d, LSI_DSP, get32(d, LSI_DNAD));
  }
}

function setOrClear(d: Lsi, word: u32, on: bool): void {
  if ((word & SCRIPT_SET_CARRY) != 0) d.carry = on ? 1 : 0;
  if ((word & SCRIPT_SET_TARGET) != 0) {
    if (on) setBits(d, LSI_SCNTL0, LSI_SCNTL0_TRG);
    else clearBits(d, LSI_SCNTL0, LSI_SCNTL0_TRG);
  }
  if ((word & SCRIPT_SET_ATN) != 0) setAtn(d, on);
  if ((word & SCRIPT_SET_ACK) != 0 && !on) releaseAck(d);
}

// Read/write, [1] 5.4.

function readWrite(d: Lsi, word: u32): void {
  const opcode = opcodeOf(word);
  const operator = (word >>> SCRIPT_PHASE_SHIFT) & SCRIPT_PHASE_MASK;
  const register = ((word >>> SCRIPT_REGISTER_SHIFT) & SCRIPT_REGISTER_MASK) | (word & SCRIPT_REGISTER_HIGH);
  const sfbr = get8(d, LSI_SFBR);
  const operand = (word & SCRIPT_USE_SFBR) != 0 ? sfbr : (word >>> SCRIPT_DATA_SHIFT) & 0xff;
  let value = sfbr;
  if (opcode != SCRIPT_FROM_SFBR && operator != SCRIPT_OP_LOAD) value = readRegister(d, register);
  const result = operate(d, operator, value, operand);
  if (opcode == SCRIPT_TO_SFBR) set8(d, LSI_SFBR, result);
  else writeRegister(d, register, result, true);
}

function operate(d: Lsi, operator: u32, value: u32, operand: u32): u32 {
  let result = operand;
  switch (operator) {
    case SCRIPT_OP_SHL:
      result = (value << 1) | d.carry;
      d.carry = value >>> 7;
      break;
    case SCRIPT_OP_OR:
      result = value | operand;
      break;
    case SCRIPT_OP_XOR:
      result = value ^ operand;
      break;
    case SCRIPT_OP_AND:
      result = value & operand;
      break;
    case SCRIPT_OP_SHR:
      result = (value >>> 1) | (d.carry << 7);
      d.carry = value & 1;
      break;
    case SCRIPT_OP_ADD:
    case SCRIPT_OP_ADC:
      result = value + operand + (operator == SCRIPT_OP_ADC ? d.carry : 0);
      d.carry = result >>> 8;
      break;
  }
  return result & 0xff;
}

// Transfer control, [1] 5.5.

function transferControl(d: Lsi, word: u32): void {
  const opcode = opcodeOf(word);
  const compares = word & (SCRIPT_COMPARE_DATA | SCRIPT_COMPARE_PHASE);
  const asTarget = (get8(d, LSI_SCNTL0) & LSI_SCNTL0_TRG) != 0;
  const wide = (word & SCRIPT_JUMP64) != 0;
  if (opcode > <u32>SCRIPT_INT) return illegal(d);
  if ((word & SCRIPT_IF_CARRY) != 0 && compares != 0) return illegal(d);
  const both: u32 = SCRIPT_COMPARE_DATA | SCRIPT_COMPARE_PHASE;
  if (asTarget && (compares == both || (word & SCRIPT_WAIT_PHASE) != 0)) return illegal(d);
  if (wide && (opcode != SCRIPT_JUMP || d.dualAddress == 0)) return illegal(d);
  if ((word & SCRIPT_WAIT_PHASE) != 0 && d.req == 0) return waitForPhase(d);
  let high: u32 = 0;
  if (wide) {
    const third = get32(d, LSI_DSP);
    if (!fetchWords(d, wideAddress(d, LSI_SFS, third), 4)) return postDma(d, LSI_DSTAT_BF);
    high = load<u32>(AT_SCRATCH);
    set32(d, LSI_DSP, third + 4);
  }
  if (!isTaken(d, word, asTarget)) return;
  if (wide) set32(d, LSI_SFS, high);
  branch(d, word, opcode);
}

/** With both comparisons, both are true or both are false. A target looks for ATN instead of a phase, and sees none. */
function isTaken(d: Lsi, word: u32, asTarget: bool): bool {
  const wanted = (word & SCRIPT_IF_TRUE) != 0;
  const kinds = word & (SCRIPT_IF_CARRY | SCRIPT_COMPARE_PHASE | SCRIPT_COMPARE_DATA);
  if (kinds == 0) return wanted;
  if ((word & SCRIPT_IF_CARRY) != 0) return (d.carry != 0) == wanted;
  if ((word & SCRIPT_COMPARE_PHASE) != 0) {
    const phase = get8(d, LSI_SSTAT1) & LSI_SSTAT1_PHASE;
    const equal = !asTarget && phase == ((word >>> SCRIPT_PHASE_SHIFT) & SCRIPT_PHASE_MASK);
    if (equal != wanted) return false;
  }
  if ((word & SCRIPT_COMPARE_DATA) == 0) return true;
  const looked = ~(word >>> SCRIPT_MASK_SHIFT) & 0xff;
  return ((get8(d, LSI_SFBR) & looked) == (word & looked)) == wanted;
}

function branch(d: Lsi, word: u32, opcode: u32): void {
  if (opcode == SCRIPT_INT) {
    if ((word & SCRIPT_INTFLY) != 0) postOnTheFly(d);
    else postDma(d, LSI_DSTAT_SIR);
    return;
  }
  if (opcode == SCRIPT_RETURN) return set32(d, LSI_DSP, get32(d, LSI_TEMP));
  const next = get32(d, LSI_DSP);
  let to = get32(d, LSI_DSPS);
  if ((word & SCRIPT_RELATIVE) != 0) {
    to = next + signed24(to);
    set32(d, LSI_ADDER, to);
  }
  if (opcode == SCRIPT_CALL) set32(d, LSI_TEMP, next);
  set32(d, LSI_DSP, to);
}

// Memory move and load/store, [1] 5.6 and 5.7.

/** The third word is the destination. Registers on either side take and give their bytes one by one. */
function memoryMove(d: Lsi, word: u32): void {
  let from = get32(d, LSI_DSPS);
  const third = get32(d, LSI_DSP);
  if (!fetchWords(d, wideAddress(d, LSI_SFS, third), 4)) return postDma(d, LSI_DSTAT_BF);
  let to = load<u32>(AT_SCRATCH);
  let left = word & SCRIPT_COUNT_MASK;
  set32(d, LSI_DSP, third + 4);
  if ((word & MEMORY_RESERVED) != 0 || ((from ^ to) & 3) != 0 || left == 0) return illegal(d);
  const mode = get8(d, LSI_DMODE);
  const fromPorts = (mode & LSI_DMODE_SIOM) != 0;
  const toPorts = (mode & LSI_DMODE_DIOM) != 0;
  // Each round copies a byte at least.
  while (left > 0) {
    const source = fromPorts ? <u64>from : wideAddress(d, LSI_MMRS, from);
    const target = toPorts ? <u64>to : wideAddress(d, LSI_MMWS, to);
    const bytes = uniform(d, target, toPorts, uniform(d, source, fromPorts, min(left, CHUNK)));
    let fault = chipRead(d, source, fromPorts, AT_SCRATCH, bytes);
    if (fault == DMA_OK) fault = chipWrite(d, target, toPorts, AT_SCRATCH, bytes);
    if (fault != DMA_OK) return postDma(d, LSI_DSTAT_BF);
    from += bytes;
    to += bytes;
    left -= bytes;
    d.spent += bytes >>> 6;
    // A register that was written may have stopped the chip.
    if (d.running == 0) return;
  }
}

function loadStore(d: Lsi, word: u32): void {
  const count = word & SCRIPT_LS_COUNT_MASK;
  const register = (word >>> SCRIPT_LS_REGISTER_SHIFT) & SCRIPT_LS_REGISTER_MASK;
  const relative = (word & SCRIPT_LS_DSA) != 0;
  const loads = (word & SCRIPT_LS_LOAD) != 0;
  const low = relative ? get32(d, LSI_DSA) + signed24(get32(d, LSI_DSPS)) : get32(d, LSI_DSPS);
  const address = wideAddress(d, relative ? LSI_DRS : loads ? LSI_MMRS : LSI_MMWS, low);
  if (d.loadStore == 0 || (word & LOAD_STORE_RESERVED) != 0 || count == 0) return illegal(d);
  if ((register & 3) + count > 4 || ((register ^ low) & 3) != 0 || isOwnRegister(d, address))
    return illegal(d);
  if (loads) {
    if (!loadBytes(d, address, count)) return postDma(d, LSI_DSTAT_BF);
    const bytes = load<u32>(AT_SCRATCH);
    if (count == 4) return writeWord(d, register, bytes);
    for (let i: u32 = 0; i < count; i++) writeRegister(d, register + i, (bytes >>> (8 * i)) & 0xff, true);
    return;
  }
  let bytes: u32 = count == 4 ? readWord(d, register) : 0;
  for (let i: u32 = 0; count < 4 && i < count; i++) bytes |= readRegister(d, register + i) << (8 * i);
  store<u32>(AT_SCRATCH, bytes);
  if (!storeBytes(d, address, count)) postDma(d, LSI_DSTAT_BF);
}
