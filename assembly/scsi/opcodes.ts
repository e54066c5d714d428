// REPORT SUPPORTED OPERATION CODES, which initiators ask before they send what an older disk might not know.
// Specification: SPC-3 6.23.
import { get16, get32, put16, put32 } from './bytes';
import { isCommand } from './command';
import { cdbLength } from './common';
import {
  ASC_INVALID_CDB_FIELD,
  DATA_IN,
  KEY_ILLEGAL_REQUEST,
  OP_MAINTENANCE_IN,
  OP_SERVICE_ACTION_IN_16,
  SA_READ_CAPACITY_16,
  SA_REPORT_OPCODES,
} from './regs';
import { bufferOf, cdbOf, fail, offer, ScsiTask, TASK_BUFFER_BYTES, unitOf } from './task';

/** Reporting options: all commands; one by operation code and service action. What is between: one by its code. */
const REPORT_ALL: u32 = 0;
const REPORT_ACTION: u32 = 2;
const NOT_SUPPORTED: u8 = 1;
const SUPPORTED: u8 = 3;
const DESCRIPTOR_BYTES: u32 = 8;
/** Of a descriptor: it has a service action. */
const SERVACTV: u8 = 1;
const OPCODES: u32 = 256;

export function reportOpcodes(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const options: u32 = load<u8>(cdb, 2);
  const opcode: u32 = load<u8>(cdb, 3);
  // Time-outs (RCTD) are not reported: none is kept.
  if ((load<u8>(cdb, 1) & 0x1f) != SA_REPORT_OPCODES || options > REPORT_ACTION) return invalidField(t);
  memory.fill(bufferOf(t), 0, TASK_BUFFER_BYTES);
  if (options != REPORT_ALL && (options == REPORT_ACTION) != hasAction(opcode)) return invalidField(t);
  const bytes = options == REPORT_ALL ? reportAll(t) : reportOne(t, opcode, get16(cdb + 4));
  offer(t, DATA_IN, min<u32>(get32(cdb + 6), bytes));
}

function reportAll(t: ScsiTask): u32 {
  let at = bufferOf(t) + 4;
  for (let opcode: u32 = 0; opcode < OPCODES; opcode++) {
    if (!isCommand(unitOf(t), opcode)) continue;
    store<u8>(at, <u8>opcode);
    if (hasAction(opcode)) {
      put16(at + 2, actionOf(opcode));
      store<u8>(at, SERVACTV, 5);
    }
    put16(at + 6, cdbLength(opcode));
    at += DESCRIPTOR_BYTES;
  }
  const bytes = <u32>(at - bufferOf(t));
  put32(bufferOf(t), bytes - 4);
  return bytes;
}

/** A command's length, and which bits of its descriptor block are looked at: all but those of the control byte. */
function reportOne(t: ScsiTask, opcode: u32, action: u32): u32 {
  const at = bufferOf(t);
  if (!isCommand(unitOf(t), opcode) || (hasAction(opcode) && action != actionOf(opcode))) {
    store<u8>(at, NOT_SUPPORTED, 1);
    return 4;
  }
  const length = cdbLength(opcode);
  store<u8>(at, SUPPORTED, 1);
  put16(at + 2, length);
  memory.fill(at + 4, 0xff, length - 1);
  store<u8>(at + 4, <u8>opcode);
  return 4 + length;
}

function hasAction(opcode: u32): bool {
  return opcode == OP_SERVICE_ACTION_IN_16 || opcode == OP_MAINTENANCE_IN;
}

function actionOf(opcode: u32): u32 {
  return opcode == OP_MAINTENANCE_IN ? SA_REPORT_OPCODES : SA_READ_CAPACITY_16;
}

function invalidField(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}
