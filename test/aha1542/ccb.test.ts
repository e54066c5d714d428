import * as regs from '../../assembly/aha1542/regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import { assert, suite } from '../run/suite.ts';
import { Board, DATA, LISTS, pattern, rw10 } from './board.ts';

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
