import * as regs from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ascOf, Board, DATA, LISTS, type Outcome, pattern, rw10 } from './board.ts';

const test = suite('aha1542: CCBs');

const READ = scsi.OP_READ_10;
const WRITE = scsi.OP_WRITE_10;

for (const opcode of [regs.OPCODE_INITIATOR, regs.OPCODE_INITIATOR_RESIDUAL]) {
  test(`opcode ${opcode} reads and writes one buffer at an odd address`, async () => {
    const board = await Board.create();
    const { memory } = board.machine;
    const bytes = pattern(1024, opcode);
    memory.writeBytes(DATA + 1, bytes);
    const write = { opcode, direction: regs.DIRECTION_OUT, dataLength: 1024, dataPointer: DATA + 1 };
    const written = board.execute({ ...write, cdb: rw10(WRITE, 5, 2) });
    assert.equal([written.mail, written.host, written.target], [regs.MBI_SUCCESS, 0, 0]);
    assert.equal(board.disk.read(5 * 512, 1024), bytes);
    const read = { opcode, direction: regs.DIRECTION_IN, dataLength: 1024, dataPointer: DATA + 0x1003 };
    assert.is(board.execute({ ...read, cdb: rw10(READ, 5, 2) }).mail, regs.MBI_SUCCESS);
    assert.ok(memory.equals(DATA + 0x1003, bytes));
  });
}

for (const opcode of [regs.OPCODE_SCATTER, regs.OPCODE_SCATTER_RESIDUAL]) {
  test(`opcode ${opcode} scatters over 17 segments of any length`, async () => {
    const board = await Board.create();
    const { memory } = board.machine;
    const bytes = pattern(17 * 512, 9);
    board.disk.write(0, bytes);
    const segments = Array.from({ length: 17 }, (_, i) => ({
      address: DATA + 0x1000 * i + i,
      bytes: i === 16 ? 512 + 16 * 8 : 504,
    }));
    const dataLength = board.writeList(segments);
    const cdb = rw10(READ, 0, 17);
    const ccb = { opcode, direction: regs.DIRECTION_IN, dataLength, dataPointer: LISTS, cdb };
    assert.is(board.execute(ccb).mail, regs.MBI_SUCCESS);
    let at = 0;
    for (const segment of segments) {
      assert.ok(memory.equals(segment.address, bytes, at, segment.bytes));
      at += segment.bytes;
    }
  });
}

const GOOD = [regs.MBI_SUCCESS, regs.HOST_OK, scsi.STATUS_GOOD];
const result = ({ mail, host, target }: Outcome): number[] => [mail, host, target];

test('a transfer that crosses the 24th line goes on at address 0, and the guard tells', async () => {
  const board = await Board.create({ guard: { mappings: false } });
  const { memory, guard } = board.machine;
  board.disk.write(0, pattern(1024));
  const read = { direction: regs.DIRECTION_IN, dataLength: 1024, dataPointer: 0xfffe00 };
  assert.equal(result(board.execute({ ...read, cdb: rw10(READ, 0, 2) })), GOOD, 'ISA has no error for it');
  assert.ok(memory.equals(0, pattern(1024), 512, 512));
  const rules = guard.findings().map(({ rule, address, driven, length }) => [rule, address, driven, length]);
  assert.equal(rules, [
    ['dev-hole', 0xfffe00, 0xfffe00, 512],
    ['dev-truncated', 0x1000000, 0, 512],
  ]);
});

test('what is written from where no memory is, is ones', async () => {
  const board = await Board.create();
  const write = { direction: regs.DIRECTION_OUT, dataLength: 512, dataPointer: 0xf00000 };
  assert.equal(result(board.execute({ ...write, cdb: rw10(WRITE, 0, 1) })), GOOD);
  assert.equal(board.disk.read(0, 512), new Uint8Array(512).fill(0xff));
});

test('nobody at a target: selection timeout after 250 ms, or after what command 06 says', async () => {
  const board = await Board.create();
  let before = board.machine.now();
  const late = [regs.MBI_ERROR, regs.HOST_SELECTION_TIMEOUT, scsi.STATUS_GOOD];
  for (const target of [1, 7]) {
    assert.equal(result(board.execute({ target })), late);
    assert.is(board.machine.now() - before, 250e6);
    before = board.machine.now();
  }
  board.command([regs.CMD_SELECTION_TIMEOUT, 1, 0, 0x01, 0x00]);
  assert.equal(result(board.execute({ target: 6 })), late);
  assert.is(board.machine.now() - before, 256e6);
  board.command([regs.CMD_SELECTION_TIMEOUT, 0, 0, 0, 1]);
  assert.is(board.execute({ target: 6 }, 1).mail, 0, 'without a timeout it waits');
  board.post(board.ccbAddress(1), regs.MBO_ABORT);
  board.start();
  assert.is(board.takeMail()?.mail, regs.MBI_ABORTED);
});

for (const opcode of [0x05, 0x10, 0x80, 0xff, regs.OPCODE_TARGET]) {
  test(`opcode ${opcode.toString(16)} is refused with host status 16h`, async () => {
    const board = await Board.create();
    const refused = [regs.MBI_ERROR, regs.HOST_BAD_OPCODE, scsi.STATUS_GOOD];
    assert.equal(result(board.execute({ opcode })), refused);
  });
}

test('a target CCB waits for its initiator; doubles and bad directions are refused', async () => {
  const board = await Board.create();
  board.command([regs.CMD_TARGET_MODE, 1, 0x01]);
  const target = { opcode: regs.OPCODE_TARGET, target: 3 };
  assert.is(board.execute({ ...target, direction: regs.DIRECTION_ANY }).host, regs.HOST_BAD_DIRECTION);
  assert.is(board.execute({ ...target, direction: regs.DIRECTION_IN }, 1).mail, 0);
  assert.is(board.execute({ ...target, direction: regs.DIRECTION_IN }, 2).host, regs.HOST_DUPLICATE);
  assert.is(board.execute({ ...target, direction: regs.DIRECTION_IN, lun: 1 }).host, regs.HOST_BAD_OPCODE);
  board.post(board.ccbAddress(1), regs.MBO_ABORT);
  board.start();
  assert.equal(board.takeMail(), { mail: regs.MBI_ABORTED, ccb: board.ccbAddress(1) });
});

test('a list of 18 segments, of half a segment, or with an empty one is a bad parameter', async () => {
  const board = await Board.create();
  const scatter = { opcode: regs.OPCODE_SCATTER_RESIDUAL, dataPointer: LISTS, cdb: rw10(READ, 0, 1) };
  const segments = Array.from({ length: 18 }, () => ({ address: DATA, bytes: 512 }));
  const bad = [regs.MBI_ERROR, regs.HOST_BAD_PARAMETER, scsi.STATUS_GOOD];
  const dataLength = board.writeList(segments);
  assert.equal(result(board.execute({ ...scatter, dataLength })), bad);
  assert.equal(result(board.execute({ ...scatter, dataLength: 10 })), bad);
  board.writeList([
    { address: DATA, bytes: 512 },
    { address: DATA, bytes: 0 },
  ]);
  assert.equal(result(board.execute({ ...scatter, dataLength: 12 })), bad);
  assert.is(board.disk.counters.reads, 0);
});

test('a descriptor block of no bytes, of 17, or shorter than its group says is a bad parameter', async () => {
  const board = await Board.create();
  for (const cdbLength of [0, 17, 9]) {
    const outcome = board.execute({ cdb: rw10(READ, 0, 1), cdbLength });
    assert.equal(result(outcome), [regs.MBI_ERROR, regs.HOST_BAD_PARAMETER, 0]);
  }
});

test('opcodes 3 and 4 write the residual back, 0 and 2 leave the length alone', async () => {
  const board = await Board.create();
  const inquiry = { cdb: [scsi.OP_INQUIRY, 0, 0, 0, 36, 0] };
  const plain = { ...inquiry, dataLength: 100, dataPointer: DATA };
  assert.is(board.execute({ ...plain, opcode: regs.OPCODE_INITIATOR }).residual, 100);
  assert.is(board.execute({ ...plain, opcode: regs.OPCODE_INITIATOR_RESIDUAL }).residual, 64);
  const dataLength = board.writeList([
    { address: DATA, bytes: 30 },
    { address: DATA + 0x100, bytes: 30 },
  ]);
  const list = { ...inquiry, dataLength, dataPointer: LISTS };
  assert.is(board.execute({ ...list, opcode: regs.OPCODE_SCATTER }).residual, 12);
  assert.is(board.execute({ ...list, opcode: regs.OPCODE_SCATTER_RESIDUAL }).residual, 24);
});

test('a direction has the length checked, direction 0 has not', async () => {
  const board = await Board.create();
  const overrun = [regs.MBI_ERROR, regs.HOST_OVERRUN, scsi.STATUS_GOOD];
  const read = { opcode: regs.OPCODE_INITIATOR_RESIDUAL, dataPointer: DATA, cdb: rw10(READ, 0, 2) };
  const ask = (direction: number, dataLength: number) => board.execute({ ...read, direction, dataLength });
  assert.equal(result(ask(regs.DIRECTION_ANY, 512)), GOOD);
  assert.equal(result(ask(regs.DIRECTION_ANY, 4096)), GOOD);
  assert.equal(result(ask(regs.DIRECTION_IN, 512)), overrun);
  const under = ask(regs.DIRECTION_IN, 4096);
  assert.equal([...result(under), under.residual], [...overrun, 3072]);
});

test('data the wrong way, or where none is expected, do not move', async () => {
  const board = await Board.create();
  const { memory } = board.machine;
  const overrun = [regs.MBI_ERROR, regs.HOST_OVERRUN, scsi.STATUS_GOOD];
  board.disk.write(0, pattern(512));
  memory.fill(DATA, 0xcc, 512);
  for (const direction of [regs.DIRECTION_OUT, regs.DIRECTION_NONE]) {
    const read = { direction, dataLength: 512, dataPointer: DATA, cdb: rw10(READ, 0, 1) };
    assert.equal(result(board.execute(read)), overrun);
    assert.is(memory.read8(DATA + 1), 0xcc);
  }
  const write = { direction: regs.DIRECTION_IN, dataLength: 512, dataPointer: DATA, cdb: rw10(WRITE, 0, 1) };
  assert.equal(result(board.execute(write)), overrun);
  assert.equal(board.disk.read(0, 512), pattern(512));
  assert.equal(result(board.execute({ direction: regs.DIRECTION_NONE })), GOOD);
});

test('a write of less than a sector leaves the sector alone', async () => {
  const board = await Board.create();
  board.machine.memory.fill(DATA, 0xcc, 1024);
  const write = { dataLength: 700, dataPointer: DATA, cdb: rw10(WRITE, 0, 2) };
  board.execute({ ...write, direction: regs.DIRECTION_OUT });
  assert.equal(board.disk.read(0, 512), new Uint8Array(512).fill(0xcc));
  assert.equal(board.disk.read(512, 512), new Uint8Array(512));
});

test('sense lengths: 0 is 14 bytes, 1 is none, others are as many as there are', async () => {
  const board = await Board.create();
  const bad = { cdb: [0x5f, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
  const written = (senseLength: number): number => {
    const at = board.writeCcb(0, { ...bad, senseLength });
    board.machine.memory.fill(at + regs.CCB_AT_CDB + 10, 0xcc, 40);
    board.post(at);
    board.start();
    board.takeMail();
    return board.outcome(0, 0).sense.indexOf(0xcc);
  };
  assert.is(written(0), 14);
  assert.is(written(1), 0);
  assert.is(written(5), 5);
  assert.is(written(18), 18);
  assert.is(written(30), 18);
});

test('without autosense REQUEST SENSE fetches it, once', async () => {
  const board = await Board.create();
  const bad = { cdb: [0x5f, 0, 0, 0, 0, 0, 0, 0, 0, 0], senseLength: 1 };
  assert.is(board.execute(bad).target, scsi.STATUS_CHECK_CONDITION);
  const ask = { cdb: [scsi.OP_REQUEST_SENSE, 0, 0, 0, 18, 0], dataLength: 18, dataPointer: DATA };
  board.execute(ask);
  assert.is(ascOf(board.machine.memory.readBytes(DATA, 18)), scsi.ASC_INVALID_OPCODE);
  board.execute(ask);
  assert.is(ascOf(board.machine.memory.readBytes(DATA, 18)), scsi.ASC_NONE);
});

test('a linked command is refused by the disk as an invalid field', async () => {
  const board = await Board.create();
  const outcome = board.execute({ cdb: [0, 0, 0, 0, 0, 1] });
  assert.equal(result(outcome), [regs.MBI_ERROR, regs.HOST_OK, scsi.STATUS_CHECK_CONDITION]);
  assert.is(ascOf(outcome.sense), scsi.ASC_INVALID_CDB_FIELD);
});

test('a CCB is read once: what the host changes after START SCSI has no effect', async () => {
  const board = await Board.create();
  const { memory } = board.machine;
  board.disk.write(0, pattern(512));
  const segments = [{ address: DATA, bytes: 512 }];
  const dataLength = board.writeList(segments);
  const read = { opcode: regs.OPCODE_SCATTER, direction: regs.DIRECTION_IN, dataLength, dataPointer: LISTS };
  const at = board.writeCcb(0, { ...read, cdb: rw10(READ, 0, 1) });
  board.post(at);
  board.start();
  memory.fill(at, 0xff, 64);
  memory.fill(LISTS, 0xff, 6);
  board.machine.settle();
  assert.is(board.takeMail()?.mail, regs.MBI_SUCCESS);
  assert.ok(memory.equals(DATA, pattern(512)));
});
