// The SCSI disk, seen through a host adapter that adds nothing of its own (CCB opcode 3, direction 0).

import * as regs from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { findProfile } from '../../src/controllers/index.ts';
import type { DiskOptions } from '../../src/machine/index.ts';
import { ascOf, Board, type BoardOptions, DATA, LISTS, type Outcome, pattern } from '../aha1542/board.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('scsi disk');

interface Answer extends Outcome {
  data: Uint8Array;
}

class Target {
  constructor(readonly board: Board) {}

  static async create(disk: DiskOptions = {}, options: BoardOptions = {}): Promise<Target> {
    return new Target(await Board.create({ ...options, disk }));
  }

  /** Runs a command with `data` for it, or with room for `room` bytes; what came back. */
  run(cdb: number[], data: Uint8Array | number = 0, lun = 0): Answer {
    const { memory } = this.board.machine;
    const length = typeof data === 'number' ? data : data.length;
    memory.fill(DATA, 0xcc, Math.max(length, 512));
    if (typeof data !== 'number') memory.writeBytes(DATA, data);
    const ccb = { opcode: regs.OPCODE_INITIATOR_RESIDUAL, dataLength: length, dataPointer: DATA, cdb, lun };
    const outcome = this.board.execute(ccb);
    return { ...outcome, data: memory.readBytes(DATA, length - outcome.residual) };
  }

  good(cdb: number[], data: Uint8Array | number = 0): Uint8Array {
    const answer = this.run(cdb, data);
    assert.is(answer.target, scsi.STATUS_GOOD, `asc ${ascOf(answer.sense).toString(16)}`);
    return answer.data;
  }

  /** Sense key and code of a command that must fail; the information field where it is valid. */
  bad(cdb: number[], data: Uint8Array | number = 0, lun = 0): number[] {
    const { target, sense } = this.run(cdb, data, lun);
    assert.is(target, scsi.STATUS_CHECK_CONDITION);
    const where = ((sense[0] ?? 0) & 0x80) !== 0 ? [get(sense, 3, 4)] : [];
    return [(sense[2] ?? 0) & 15, ascOf(sense), ...where];
  }
}

function get(bytes: Uint8Array, at: number, length: number): number {
  return bytes.subarray(at, at + length).reduce((sum, byte) => sum * 256 + byte, 0);
}

function be(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) % 256);
}

const cdb6 = (op: number, lba: number, count: number): number[] => [op, ...be(lba, 3), count, 0];
const cdb10 = (op: number, lba: number, count: number, flags = 0): number[] => [
  op,
  flags,
  ...be(lba, 4),
  0,
  ...be(count, 2),
  0,
];
const cdb12 = (op: number, lba: number, count: number): number[] => [
  op,
  0,
  ...be(lba, 4),
  ...be(count, 4),
  0,
  0,
];
const cdb16 = (op: number, lba: number, count: number, flags = 0): number[] => [
  op,
  flags,
  ...be(lba, 8),
  ...be(count, 4),
  0,
  0,
];

const INVALID_FIELD = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_INVALID_CDB_FIELD];
const SECTORS = 512;

for (const sectorBytes of [512, 4096] as const) {
  test(`READ and WRITE of 6, 10, 12 and 16 bytes agree, ${sectorBytes}-byte sectors`, async () => {
    const target = await Target.create({ sectorBytes });
    const forms = [
      [cdb6, scsi.OP_WRITE_6, scsi.OP_READ_6],
      [cdb10, scsi.OP_WRITE_10, scsi.OP_READ_10],
      [cdb12, scsi.OP_WRITE_12, scsi.OP_READ_12],
      [cdb16, scsi.OP_WRITE_16, scsi.OP_READ_16],
      [cdb10, scsi.OP_WRITE_VERIFY_10, scsi.OP_READ_10],
      [cdb12, scsi.OP_WRITE_VERIFY_12, scsi.OP_READ_12],
      [cdb16, scsi.OP_WRITE_VERIFY_16, scsi.OP_READ_16],
    ] as const;
    for (const [i, [form, write, read]] of forms.entries()) {
      const bytes = pattern(2 * sectorBytes, i);
      target.good(form(write, 3 + i, 2), bytes);
      assert.equal(target.board.disk.read((3 + i) * sectorBytes, bytes.length), bytes);
      assert.equal(target.good(form(read, 3 + i, 2), bytes.length), bytes);
    }
  });
}

test('a length of 0 is 256 blocks in the six-byte form and none in the others', async () => {
  const target = await Target.create();
  assert.is(target.good(cdb6(scsi.OP_READ_6, 0, 0), 256 * 512).length, 256 * 512);
  for (const cdb of [
    cdb10(scsi.OP_READ_10, 0, 0),
    cdb12(scsi.OP_READ_12, 0, 0),
    cdb16(scsi.OP_READ_16, 0, 0),
  ]) {
    assert.is(target.good(cdb, 512).length, 0);
  }
});

test('a range beyond the medium fails with its address', async () => {
  const target = await Target.create();
  const range = (lba: number): number[] => [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_LBA_RANGE, lba];
  assert.equal(target.bad(cdb10(scsi.OP_READ_10, SECTORS, 1), 512), range(SECTORS));
  assert.equal(target.bad(cdb10(scsi.OP_WRITE_10, SECTORS - 1, 2), 1024), range(SECTORS - 1));
  assert.equal(target.bad(cdb12(scsi.OP_READ_12, 0xffffffff, 0xffffffff), 512), range(0xffffffff));
  const far = target.bad(cdb16(scsi.OP_READ_16, 2 ** 40, 1), 512);
  assert.equal(far, [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_LBA_RANGE], 'too far for the information field');
  assert.equal(target.bad(cdb10(scsi.OP_VERIFY_10, SECTORS, 1)), range(SECTORS));
  assert.equal(target.bad(cdb6(scsi.OP_SEEK_6, SECTORS, 0)), range(SECTORS));
  assert.equal(target.bad(cdb10(scsi.OP_SYNCHRONIZE_CACHE_10, 1, SECTORS)), range(1));
  assert.equal(target.bad(cdb10(scsi.OP_WRITE_SAME_10, SECTORS, 1), 512), range(SECTORS));
});

test('protection fields, links and unknown operation codes are refused', async () => {
  const target = await Target.create();
  assert.equal(target.bad(cdb10(scsi.OP_READ_10, 0, 1, 0x20), 512), INVALID_FIELD);
  assert.equal(target.bad([scsi.OP_INQUIRY, 0, 0, 0, 36, 4], 36), INVALID_FIELD);
  for (const op of [0x02, 0x3c, 0x4d, 0x5e, 0x5f, 0x7f, 0xa4, 0xc0]) {
    const unknown = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_INVALID_OPCODE];
    assert.equal(target.bad([op, ...new Array(15).fill(0)], 16), unknown);
  }
});

/** REPORT SUPPORTED OPERATION CODES. */
const opcodes = (options: number, opcode = 0, action = 0): number[] => [
  scsi.OP_MAINTENANCE_IN,
  scsi.SA_REPORT_OPCODES,
  options,
  opcode,
  ...be(action, 2),
  ...be(512, 4),
  0,
  0,
];

test('REPORT SUPPORTED OPERATION CODES: all, one, one with its service action; the commands are known', async () => {
  const target = await Target.create();
  const all = target.good(opcodes(0), 512);
  assert.is(get(all, 0, 4), all.length - 4);
  const listed = new Map<number, number[]>();
  for (let at = 4; at < all.length; at += 8) listed.set(all[at] ?? 0, [...all.subarray(at + 2, at + 8)]);
  assert.equal(listed.get(scsi.OP_READ_10), [0, 0, 0, 0, 0, 10]);
  assert.equal(listed.get(scsi.OP_WRITE_SAME_16), [0, 0, 0, 0, 0, 16]);
  assert.equal(listed.get(scsi.OP_SERVICE_ACTION_IN_16), [0, scsi.SA_READ_CAPACITY_16, 0, 1, 0, 16]);
  assert.is(listed.has(0xa4), false);
  const read = target.good(opcodes(1, scsi.OP_READ_10), 512);
  assert.equal([...read.subarray(0, 5), read[13]], [0, 3, 0, 10, scsi.OP_READ_10, 0]);
  assert.equal([...target.good(opcodes(1, 0xa4), 512)], [0, 1, 0, 0]);
  assert.equal([...target.good(opcodes(2, scsi.OP_SERVICE_ACTION_IN_16, 0x12), 512)], [0, 1, 0, 0]);
  const capacity = target.good(opcodes(2, scsi.OP_SERVICE_ACTION_IN_16, scsi.SA_READ_CAPACITY_16), 512);
  assert.equal([capacity[1], capacity.length], [3, 20]);
  // Option 1 is for operation codes without service actions, 2 for those with (SPC-3 6.23.1).
  assert.equal(target.bad(opcodes(1, scsi.OP_SERVICE_ACTION_IN_16), 512), INVALID_FIELD);
  assert.equal(target.bad(opcodes(2, scsi.OP_READ_10), 512), INVALID_FIELD);
  assert.equal(target.bad(opcodes(3), 512), INVALID_FIELD);
});

test("a disk of old, as Linux's aha1542 needs it: not thin, and neither WRITE SAME nor UNMAP (SBC-3 6.6.3)", async () => {
  const profile = findProfile('aha1542')?.profile;
  assert.ok(profile);
  const parameters = { ...profile.parameters, thickDisks: true };
  const target = await Target.create({}, { profile: { ...profile, parameters } });
  assert.is(target.good(cdb16(scsi.OP_SERVICE_ACTION_IN_16, 0, 32, scsi.SA_READ_CAPACITY_16), 32)[14], 0);
  assert.equal([...target.good([scsi.OP_INQUIRY, 1, 0xb2, 0, 255, 0], 255).subarray(4)], [0, 0, 0, 0]);
  for (const op of [scsi.OP_WRITE_SAME_10, scsi.OP_WRITE_SAME_16, scsi.OP_UNMAP]) {
    assert.equal([...target.good(opcodes(1, op), 512)], [0, 1, 0, 0]);
    assert.equal(target.bad([op, ...new Array<number>(15).fill(0)]), [
      scsi.KEY_ILLEGAL_REQUEST,
      scsi.ASC_INVALID_OPCODE,
    ]);
  }
  assert.equal(
    [...target.good([scsi.OP_INQUIRY, 1, 0xb0, 0, 255, 0], 255).subarray(20, 28)],
    new Array(8).fill(0),
  );
  assert.is(target.good(opcodes(1, scsi.OP_WRITE_10), 512)[1], 3);
});

test('power on leaves a unit attention that INQUIRY and REPORT LUNS pass', async () => {
  const target = await Target.create({}, { ready: false });
  target.board.setUp();
  target.good([scsi.OP_INQUIRY, 0, 0, 0, 36, 0], 36);
  target.good([scsi.OP_REPORT_LUNS, 0, 0, 0, 0, 0, ...be(16, 4), 0, 0], 16);
  assert.equal(target.bad([0, 0, 0, 0, 0, 0]), [scsi.KEY_UNIT_ATTENTION, scsi.ASC_RESET]);
  target.good([0, 0, 0, 0, 0, 0]);
});

test('REQUEST SENSE takes a pending unit attention', async () => {
  const target = await Target.create({}, { ready: false });
  target.board.setUp();
  const sense = target.good([scsi.OP_REQUEST_SENSE, 0, 0, 0, 18, 0], 18);
  assert.equal([sense[0], sense[2], ascOf(sense)], [0x70, scsi.KEY_UNIT_ATTENTION, scsi.ASC_RESET]);
  target.good([0, 0, 0, 0, 0, 0]);
});

test('an unknown operation code meets the unit attention before its own error', async () => {
  const target = await Target.create({}, { ready: false });
  target.board.setUp();
  const unknown = [0x02, 0, 0, 0, 0, 0];
  assert.equal(target.bad(unknown), [scsi.KEY_UNIT_ATTENTION, scsi.ASC_RESET]);
  assert.equal(target.bad(unknown), [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_INVALID_OPCODE]);
});

test('REQUEST SENSE with DESC answers in descriptor format', async () => {
  const target = await Target.create();
  const desc = [scsi.OP_REQUEST_SENSE, scsi.CDB_DESC, 0, 0, 252, 0];
  assert.equal([...target.good(desc, 252)], [0x72, 0, 0, 0, 0, 0, 0, 0], 'nothing to say');
  // No autosense: the unit keeps the sense data.
  target.board.execute({ cdb: cdb10(scsi.OP_READ_10, SECTORS, 1), senseLength: regs.SENSE_DISABLED });
  const sense = target.good(desc, 252);
  assert.equal([...sense.subarray(0, 8)], [0x72, scsi.KEY_ILLEGAL_REQUEST, 0x21, 0, 0, 0, 0, 12]);
  assert.equal([...sense.subarray(8)], [0, 10, 0x80, 0, ...be(SECTORS, 8)]);
  assert.is(target.good(desc, 252)[1], 0, 'told once');
  const absent = target.run(desc, 252, 5);
  assert.equal([...absent.data], [0x72, scsi.KEY_ILLEGAL_REQUEST, 0x25, 0, 0, 0, 0, 0]);
  const cut = target.good([scsi.OP_REQUEST_SENSE, scsi.CDB_DESC, 0, 0, 4, 0], 16);
  assert.is(cut.length, 4);
});

test('a number without a unit: qualifier 3, no commands', async () => {
  const target = await Target.create();
  const inquiry = target.run([scsi.OP_INQUIRY, 0, 0, 0, 36, 0], 36, 5);
  assert.equal([inquiry.target, inquiry.data[0]], [scsi.STATUS_GOOD, scsi.INQUIRY_ABSENT]);
  const absent = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_NO_SUCH_UNIT];
  assert.equal(target.bad([0, 0, 0, 0, 0, 0], 0, 5), absent);
  const sense = target.run([scsi.OP_REQUEST_SENSE, 0, 0, 0, 18, 0], 18, 5);
  assert.equal([sense.target, ascOf(sense.data)], [scsi.STATUS_GOOD, scsi.ASC_NO_SUCH_UNIT]);
});

test('REPORT LUNS lists the units that are there', async () => {
  const target = await Target.create();
  target.board.controller.attach(target.board.machine.addDisk({ bytes: 4096 }), 0, 3);
  const list = target.good([scsi.OP_REPORT_LUNS, 0, 0, 0, 0, 0, ...be(64, 4), 0, 0], 64);
  assert.equal([...list], [...be(16, 4), 0, 0, 0, 0, ...be(0, 8), 0, 3, ...be(0, 6)]);
  assert.equal(target.bad([scsi.OP_REPORT_LUNS, 0, 0, 0, 0, 0, ...be(15, 4), 0, 0], 15), INVALID_FIELD);
});

test('INQUIRY: a disk of SPC-3, and the pages that it lists', async () => {
  const target = await Target.create();
  const data = target.good([scsi.OP_INQUIRY, 0, 0, 0, 255, 0], 255);
  assert.is(data.length, scsi.INQUIRY_BYTES);
  assert.equal([...data.subarray(0, 5)], [0, 0, 5, 2, scsi.INQUIRY_BYTES - 5]);
  // SPC-3 6.4.2: what an initiator negotiates about only with targets that say it.
  assert.is(data[scsi.INQUIRY_AT_FLAGS], scsi.INQUIRY_CMDQUE | scsi.INQUIRY_SYNC | scsi.INQUIRY_WIDE);
  assert.is(String.fromCharCode(...data.subarray(8, 36)), 'BACKPLNEVIRTUAL DISK    1.0 ');
  const page = (code: number): Uint8Array => target.good([scsi.OP_INQUIRY, 1, code, 0, 255, 0], 255);
  const pages = [...page(0).subarray(4)];
  assert.equal(pages, [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
  for (const code of pages) {
    const bytes = page(code);
    assert.equal([bytes[1], get(bytes, 2, 2)], [code, bytes.length - 4]);
  }
  assert.is(String.fromCharCode(...page(0x80).subarray(4)), 'BP00000001');
  const designators = page(0x83);
  assert.is(designators[7], 34);
  assert.equal([...designators.subarray(42, 46)], [1, 3, 0, 8]);
  assert.is(get(page(0xb0), 8, 4), scsi.MAX_TRANSFER_BLOCKS);
  assert.is(get(page(0xb1), 4, 2), 1);
  assert.is(page(0xb2)[5], 0xe4);
  assert.equal(target.bad([scsi.OP_INQUIRY, 1, 0x81, 0, 255, 0], 255), INVALID_FIELD);
  assert.equal(target.bad([scsi.OP_INQUIRY, 0, 0x80, 0, 255, 0], 255), INVALID_FIELD);
});

test('READ CAPACITY tells the last block, the block length, and thin provisioning', async () => {
  const target = await Target.create({ sectorBytes: 4096 });
  const short = target.good([scsi.OP_READ_CAPACITY_10, ...new Array(9).fill(0)], 8);
  assert.equal([get(short, 0, 4), get(short, 4, 4)], [63, 4096]);
  const cdb = cdb16(scsi.OP_SERVICE_ACTION_IN_16, 0, 32, scsi.SA_READ_CAPACITY_16);
  const long = target.good(cdb, 32);
  assert.equal([get(long, 0, 8), get(long, 8, 4), long[14]], [63, 4096, 0xc0]);
  assert.equal(target.bad(cdb10(scsi.OP_READ_CAPACITY_10, 1, 0), 8), INVALID_FIELD);
  assert.equal(target.bad(cdb16(scsi.OP_SERVICE_ACTION_IN_16, 0, 32, 0x11), 32), INVALID_FIELD);
});

const sense6 = (page: number, flags = 0, length = 255): number[] => [
  scsi.OP_MODE_SENSE_6,
  flags,
  page,
  0,
  length,
  0,
];

test('MODE SENSE gives pages, descriptors and what can be changed', async () => {
  const target = await Target.create();
  const all = target.good(sense6(scsi.MODE_ALL), 255);
  assert.equal([all.length, all[0], all[2], all[3]], [4 + 8 + 44, 4 + 8 + 44 - 1, scsi.MODE_DPOFUA, 8]);
  assert.equal([get(all, 4, 4), get(all, 9, 3)], [SECTORS, 512]);
  assert.equal([all[12], all[24], all[44]], [0x81, 0x88, 0x8a]);
  const flags = (control: number): number | undefined =>
    target.good(sense6(scsi.MODE_CACHING | (control << 6), scsi.CDB_DBD), 255)[6];
  assert.equal([flags(scsi.PC_CURRENT), flags(scsi.PC_CHANGEABLE), flags(scsi.PC_DEFAULT)], [4, 5, 4]);
  const ten = [scsi.OP_MODE_SENSE_10, scsi.CDB_LLBAA, scsi.MODE_CONTROL, 0, 0, 0, 0, 0, 255, 0];
  const long = target.good(ten, 255);
  assert.equal(
    [get(long, 0, 2), long[4], get(long, 6, 2), get(long, 8, 8)],
    [8 + 16 + 12 - 2, 1, 16, SECTORS],
  );
  assert.equal(target.bad(sense6(0x02), 255), INVALID_FIELD);
  assert.is(target.good(sense6(scsi.MODE_ALL, 0, 10), 255).length, 10, 'the allocation length cuts');
});

test('MODE SELECT changes and saves the write cache; a bus reset goes back to what is saved', async () => {
  const target = await Target.create();
  const select = (flags: number, save: boolean): void => {
    const list = [0, 0, 0, 0, scsi.MODE_CACHING, 18, flags, ...new Array(17).fill(0)];
    target.good([scsi.OP_MODE_SELECT_6, save ? 0x11 : 0x10, 0, 0, 24, 0], Uint8Array.from(list));
  };
  const flags = (control: number): number | undefined =>
    target.good(sense6(scsi.MODE_CACHING | (control << 6), scsi.CDB_DBD), 255)[6];
  select(1, true);
  select(0, false);
  assert.equal([flags(scsi.PC_CURRENT), flags(scsi.PC_SAVED), flags(scsi.PC_DEFAULT)], [0, 1, 4]);
  const { flushes } = target.board.disk.counters;
  target.good(cdb10(scsi.OP_WRITE_10, 0, 1), new Uint8Array(512));
  assert.is(target.board.disk.counters.flushes, flushes + 1, 'without the cache a write goes through');
  target.board.control(regs.CONTROL_SCRST);
  target.board.control(regs.CONTROL_IRST);
  target.bad([0, 0, 0, 0, 0, 0]);
  assert.is(flags(scsi.PC_CURRENT), 1);
});

test('MODE SELECT refuses what cannot be changed, and lists that are too short', async () => {
  const target = await Target.create();
  const select = (...list: number[]): number[] =>
    target.bad([scsi.OP_MODE_SELECT_6, 0x10, 0, 0, list.length, 0], Uint8Array.from(list));
  const invalid = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_INVALID_PARAMETER];
  const truncated = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_PARAMETER_LENGTH];
  assert.equal(select(0, 0, 0, 0, 8, 18, 4, 1, ...new Array(16).fill(0)), invalid);
  assert.equal(select(0, 0, 0, 0, 8, 17, 4, ...new Array(17).fill(0)), invalid);
  assert.equal(select(0, 0, 0, 0, 2, 10, ...new Array(10).fill(0)), invalid);
  assert.equal(select(0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 16, 0), invalid);
  assert.equal(select(0, 0, 0), truncated);
  assert.equal(select(0, 0, 0, 0, 8, 18, 4), truncated);
  const short = target.run([scsi.OP_MODE_SELECT_6, 0x10, 0, 0, 24, 0], new Uint8Array(12));
  assert.is(ascOf(short.sense), scsi.ASC_PARAMETER_LENGTH);
});

test('medium errors name the block: 11/00 reading and verifying, 0C/00 writing', async () => {
  const target = await Target.create();
  const { machine, disk } = target.board;
  machine.addFault({ disk, kind: 'error', operations: ['read', 'write', 'verify'], first: 6, last: 6 });
  const read = [scsi.KEY_MEDIUM_ERROR, scsi.ASC_READ_ERROR, 6];
  assert.equal(target.bad(cdb10(scsi.OP_READ_10, 4, 4), 2048), read);
  assert.equal(target.bad(cdb10(scsi.OP_VERIFY_10, 4, 4)), read);
  const write = [scsi.KEY_MEDIUM_ERROR, scsi.ASC_WRITE_ERROR, 6];
  assert.equal(target.bad(cdb10(scsi.OP_WRITE_10, 4, 4), pattern(2048)), write);
  assert.equal(disk.read(4 * 512, 1024), pattern(2048).subarray(0, 1024));
  target.good(cdb10(scsi.OP_READ_10, 7, 1), 512);
});

test('a flush that fails is a write error without a block', async () => {
  const target = await Target.create();
  target.board.machine.addFault({ disk: target.board.disk, kind: 'error', operations: ['flush'], times: 1 });
  const sync = cdb10(scsi.OP_SYNCHRONIZE_CACHE_10, 0, 0);
  assert.equal(target.bad(sync), [scsi.KEY_MEDIUM_ERROR, scsi.ASC_WRITE_ERROR]);
  target.good(sync);
  target.good(cdb16(scsi.OP_SYNCHRONIZE_CACHE_16, 0, 0));
});

test('a read-only disk refuses every kind of writing', async () => {
  const target = await Target.create({ readOnly: true });
  const refused = [scsi.KEY_DATA_PROTECT, scsi.ASC_WRITE_PROTECTED];
  assert.equal(target.bad(cdb10(scsi.OP_WRITE_10, 0, 1), 512), refused);
  assert.equal(target.bad(cdb10(scsi.OP_WRITE_SAME_10, 0, 1), 512), refused);
  assert.equal(target.bad([scsi.OP_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0], 24), refused);
  assert.equal(target.bad([scsi.OP_FORMAT_UNIT, 0, 0, 0, 0, 0]), refused);
  assert.is(target.good(sense6(scsi.MODE_ALL), 255)[2], scsi.MODE_WRITE_PROTECTED | scsi.MODE_DPOFUA);
});

function unmapList(...ranges: [lba: number, blocks: number][]): Uint8Array {
  const bytes = ranges.length * 16;
  const body = ranges.flatMap(([lba, blocks]) => [...be(lba, 8), ...be(blocks, 4), 0, 0, 0, 0]);
  return Uint8Array.from([...be(bytes + 6, 2), ...be(bytes, 2), 0, 0, 0, 0, ...body]);
}

const unmap = (length: number): number[] => [scsi.OP_UNMAP, 0, 0, 0, 0, 0, 0, ...be(length, 2), 0];

test('UNMAP zeroes each of its ranges, or none if one is bad', async () => {
  const target = await Target.create();
  const { disk } = target.board;
  disk.write(0, new Uint8Array(64 * 512).fill(9));
  const bad = unmapList([0, 2], [SECTORS, 1]);
  assert.equal(target.bad(unmap(bad.length), bad), [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_LBA_RANGE, SECTORS]);
  assert.is(disk.read(0, 1)[0], 9);
  const good = unmapList([0, 2], [10, 0], [20, 3]);
  target.good(unmap(good.length), good);
  const expected = new Uint8Array(64 * 512).fill(9);
  expected.fill(0, 0, 2 * 512).fill(0, 20 * 512, 23 * 512);
  assert.equal(disk.read(0, 64 * 512), expected);
  target.good(unmap(0));
  assert.equal(target.bad(unmap(7), 7), [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_PARAMETER_LENGTH]);
});

test('UNMAP: more ranges than the limit are a bad list, a long list with few of them is not', async () => {
  const target = await Target.create();
  const { disk } = target.board;
  disk.write(0, new Uint8Array(8 * 512).fill(9));
  const many = unmapList(...Array.from({ length: 17 }, (_, i): [number, number] => [i, 1]));
  const invalid = [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_INVALID_PARAMETER];
  assert.equal(target.bad(unmap(many.length), many), invalid);
  assert.is(disk.read(0, 1)[0], 9, 'none was unmapped');
  const padded = new Uint8Array(512);
  padded.set(unmapList([1, 1]));
  target.good(unmap(512), padded);
  assert.equal([disk.read(0, 1)[0], disk.read(512, 1)[0], disk.read(1024, 1)[0]], [9, 0, 9]);
  const partial = unmapList([2, 1], [3, 1]);
  partial[3] = 31;
  target.good(unmap(partial.length), partial);
  assert.equal([disk.read(1024, 1)[0], disk.read(1536, 1)[0]], [0, 9], 'half a descriptor is none');
});

for (const sectorBytes of [512, 4096] as const) {
  test(`WRITE SAME repeats its block, ${sectorBytes}-byte sectors; zeroes may be unmapped`, async () => {
    const target = await Target.create({ sectorBytes });
    const { disk } = target.board;
    const block = pattern(sectorBytes, 4);
    target.good(cdb10(scsi.OP_WRITE_SAME_10, 2, 5), block);
    for (let i = 2; i < 7; i++) assert.equal(disk.read(i * sectorBytes, sectorBytes), block);
    assert.equal(disk.read(7 * sectorBytes, sectorBytes), new Uint8Array(sectorBytes));
    target.good(cdb16(scsi.OP_WRITE_SAME_16, 3, 1, scsi.CDB_UNMAP), new Uint8Array(sectorBytes));
    assert.equal(disk.read(3 * sectorBytes, sectorBytes), new Uint8Array(sectorBytes));
    target.good(cdb16(scsi.OP_WRITE_SAME_16, 4, 1, scsi.CDB_UNMAP), block);
    assert.equal(disk.read(4 * sectorBytes, sectorBytes), block);
    target.good(cdb10(scsi.OP_WRITE_SAME_10, 1, 0), block);
    assert.equal(disk.read(disk.bytes - sectorBytes, sectorBytes), block, 'no blocks: all the rest');
    assert.equal(target.bad(cdb10(scsi.OP_WRITE_SAME_10, 0, 1, scsi.CDB_ANCHOR), sectorBytes), INVALID_FIELD);
  });
}

test('WRITE SAME (16) with NDOB takes no data and leaves zeroes', async () => {
  const target = await Target.create();
  const { disk } = target.board;
  disk.write(0, new Uint8Array(16 * 512).fill(7));
  target.good(cdb16(scsi.OP_WRITE_SAME_16, 2, 3, scsi.CDB_NDOB));
  target.good(cdb16(scsi.OP_WRITE_SAME_16, 8, 2, scsi.CDB_NDOB | scsi.CDB_UNMAP));
  const expected = new Uint8Array(16 * 512).fill(7);
  expected.fill(0, 2 * 512, 5 * 512).fill(0, 8 * 512, 10 * 512);
  assert.equal(disk.read(0, 16 * 512), expected);
  const past = cdb16(scsi.OP_WRITE_SAME_16, SECTORS - 1, 2, scsi.CDB_NDOB);
  assert.equal(target.bad(past), [scsi.KEY_ILLEGAL_REQUEST, scsi.ASC_LBA_RANGE, SECTORS - 1]);
});

test('FORMAT UNIT leaves zeroes', async () => {
  const target = await Target.create();
  target.board.disk.write(0, new Uint8Array(256 * 1024).fill(1));
  target.good([scsi.OP_FORMAT_UNIT, 0, 0, 0, 0, 0]);
  assert.equal(target.board.disk.read(0, 256 * 1024), new Uint8Array(256 * 1024));
  assert.equal(target.bad([scsi.OP_FORMAT_UNIT, scsi.CDB_FMTDATA, 0, 0, 0, 0], 4), INVALID_FIELD);
  assert.equal(
    target.bad([scsi.OP_FORMAT_UNIT, 0x80, 0, 0, 0, 0]),
    INVALID_FIELD,
    'no protection information',
  );
});

test('a FORMAT UNIT that a reset of the bus ends leaves a unit that works, and one that ends by itself too', async () => {
  const target = await Target.create({ latencyNs: 1000 });
  const { board } = target;
  board.disk.write(0, new Uint8Array(256 * 1024).fill(1));
  board.post(board.writeCcb(0, { cdb: [scsi.OP_FORMAT_UNIT, 0, 0, 0, 0, 0] }));
  board.start();
  board.machine.advance(board.machine.now() + 100);
  board.control(regs.CONTROL_SCRST);
  board.control(regs.CONTROL_IRST);
  assert.equal(target.bad([0, 0, 0, 0, 0, 0]), [scsi.KEY_UNIT_ATTENTION, scsi.ASC_RESET]);
  assert.equal(target.good(cdb10(scsi.OP_READ_10, 0, 1), 512), new Uint8Array(512).fill(1));
  target.good([scsi.OP_FORMAT_UNIT, 0, 0, 0, 0, 0]);
  assert.equal(target.good(cdb10(scsi.OP_READ_10, 0, 1), 512), new Uint8Array(512));
});

test('a block descriptor with another length is refused while a read is under way, which ends by the old one', async () => {
  const target = await Target.create({ latencyNs: 1000 });
  const { board } = target;
  const content = pattern(4096, 5);
  board.disk.write(0, content);
  const read = { cdb: cdb10(scsi.OP_READ_10, 0, 8), dataLength: 4096, dataPointer: DATA };
  board.post(board.writeCcb(0, read));
  board.start();
  board.machine.advance(board.machine.now() + 100);
  // MODE SELECT(6): one descriptor, blocks of 4096 bytes.
  board.machine.memory.writeBytes(LISTS, Uint8Array.from([0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 16, 0]));
  const select = { cdb: [scsi.OP_MODE_SELECT_6, 0x10, 0, 0, 12, 0], dataLength: 12, dataPointer: LISTS };
  board.post(board.writeCcb(1, select));
  board.start();
  board.machine.settle();
  const ends = [board.takeMail(), board.takeMail()].map((mail) => mail?.mail);
  assert.equal(ends, [regs.MBI_SUCCESS, regs.MBI_ERROR]);
  board.control(regs.CONTROL_IRST);
  assert.ok(board.machine.memory.equals(DATA, content));
  assert.is(ascOf(board.outcome(1, 0).sense), scsi.ASC_INVALID_PARAMETER);
  assert.equal(get(target.good([scsi.OP_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8), 4, 4), 512);
});

test('a stopped unit is not ready until it is started', async () => {
  const target = await Target.create();
  target.good([scsi.OP_START_STOP_UNIT, 0, 0, 0, 0, 0]);
  const stopped = [scsi.KEY_NOT_READY, scsi.ASC_STOPPED];
  assert.equal(target.bad([0, 0, 0, 0, 0, 0]), stopped);
  assert.equal(target.bad(cdb10(scsi.OP_READ_10, 0, 1), 512), stopped);
  target.good([scsi.OP_INQUIRY, 0, 0, 0, 36, 0], 36);
  target.good([scsi.OP_START_STOP_UNIT, 0, 0, 0, scsi.CDB_START, 0]);
  target.good([0, 0, 0, 0, 0, 0]);
  assert.equal(target.bad([scsi.OP_START_STOP_UNIT, 0, 0, 0, 0x02, 0]), INVALID_FIELD);
});

test('commands without effect on a disk of one initiator succeed', async () => {
  const target = await Target.create();
  for (const op of [scsi.OP_REZERO_UNIT, scsi.OP_RESERVE_6, scsi.OP_RELEASE_6, scsi.OP_SEND_DIAGNOSTIC]) {
    target.good([op, 0, 0, 0, 0, 0]);
  }
  target.good([scsi.OP_PREVENT_ALLOW, 0, 0, 0, 1, 0]);
  target.good(cdb10(scsi.OP_SEEK_10, SECTORS - 1, 0));
  for (const op of [scsi.OP_RESERVE_10, scsi.OP_RELEASE_10]) target.good([op, ...new Array(9).fill(0)]);
  assert.equal(target.bad([scsi.OP_RESERVE_6, 0x10, 0, 0, 0, 0]), INVALID_FIELD);
  assert.equal(target.bad([scsi.OP_SEND_DIAGNOSTIC, 0, 0, 0, 4, 0], 4), INVALID_FIELD);
});

test('READ DEFECT DATA gives empty lists', async () => {
  const target = await Target.create();
  const ten = target.good([scsi.OP_READ_DEFECT_DATA_10, 0, 0x1d, 0, 0, 0, 0, 0, 16, 0], 16);
  assert.equal([...ten], [0, 0x1d, 0, 0]);
  const twelve = target.good([scsi.OP_READ_DEFECT_DATA_12, 0x1d, 0, 0, 0, 0, ...be(16, 4), 0, 0], 16);
  assert.equal([...twelve], [0, 0x1d, 0, 0, 0, 0, 0, 0]);
});

test('VERIFY without comparison reads; one block compared with many is refused', async () => {
  const target = await Target.create();
  target.good(cdb10(scsi.OP_VERIFY_10, 0, 16));
  target.good(cdb12(scsi.OP_VERIFY_12, 0, 16));
  target.good(cdb16(scsi.OP_VERIFY_16, 0, SECTORS));
  assert.equal(target.bad(cdb10(scsi.OP_VERIFY_10, 0, 1, scsi.CDB_BYTCHK_FIELD), 512), INVALID_FIELD);
});

for (const sectorBytes of [512, 4096] as const) {
  test(`VERIFY with BYTCHK compares and changes nothing, ${sectorBytes}-byte sectors`, async () => {
    const target = await Target.create({ sectorBytes });
    const { disk, machine } = target.board;
    const bytes = pattern(3 * sectorBytes, 5);
    disk.write(2 * sectorBytes, bytes);
    const cdb = cdb10(scsi.OP_VERIFY_10, 2, 3, scsi.CDB_BYTCHK);
    target.good(cdb, bytes);
    target.good(cdb16(scsi.OP_VERIFY_16, 2, 3, scsi.CDB_BYTCHK), bytes);
    for (const at of [0, sectorBytes, bytes.length - 1]) {
      const wrong = Uint8Array.from(bytes);
      wrong[at] = (wrong[at] ?? 0) ^ 1;
      assert.equal(target.bad(cdb, wrong), [scsi.KEY_MISCOMPARE, scsi.ASC_MISCOMPARE]);
      assert.equal(disk.read(2 * sectorBytes, bytes.length), bytes);
    }
    target.good(cdb10(scsi.OP_VERIFY_10, 2, 0, scsi.CDB_BYTCHK));
    machine.addFault({ disk, kind: 'error', operations: ['read'], first: 3, last: 3 });
    assert.equal(target.bad(cdb, bytes), [scsi.KEY_MEDIUM_ERROR, scsi.ASC_READ_ERROR, 3]);
  });
}

test('VERIFY with BYTCHK compares each segment of a scatter list', async () => {
  const { board } = await Target.create();
  const bytes = pattern(16 * 512, 6);
  board.disk.write(0, bytes);
  const split = [100, 4096, 3000, 996];
  let done = 0;
  const segments = split.map((length, i) => {
    const address = DATA + i * 0x2000 + 3;
    board.machine.memory.writeBytes(address, bytes.subarray(done, done + length));
    done += length;
    return { address, bytes: length };
  });
  assert.is(done, bytes.length);
  const ccb = {
    opcode: regs.OPCODE_SCATTER,
    direction: regs.DIRECTION_OUT,
    dataLength: board.writeList(segments),
    dataPointer: LISTS,
    cdb: cdb10(scsi.OP_VERIFY_10, 0, 16, scsi.CDB_BYTCHK),
  };
  assert.is(board.execute(ccb).mail, regs.MBI_SUCCESS);
  for (const { address, bytes: length } of segments) {
    const last = address + length - 1;
    board.machine.memory.write8(last, board.machine.memory.read8(last) ^ 0x80);
    const outcome = board.execute(ccb);
    assert.equal([outcome.target, ascOf(outcome.sense)], [scsi.STATUS_CHECK_CONDITION, scsi.ASC_MISCOMPARE]);
    board.machine.memory.write8(last, board.machine.memory.read8(last) ^ 0x80);
  }
});
