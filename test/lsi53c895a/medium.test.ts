// The chip over media of the host: ones that answer later, that fail, that go away.

import type { AsyncMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { Chip, DATA, pattern, readTen, regs, writeTen } from './chip.ts';

const test = suite('lsi53c895a: media');
const FLUSH = [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const SENSE = [3, 0, 0, 0, 18, 0];

/** Bytes that come and go in their own time; writes beyond `good` fail. */
function lateMedium(bytes: Uint8Array, good = bytes.length): AsyncMedium {
  const later = async <T>(act: () => T): Promise<T> => {
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
    return act();
  };
  return {
    name: 'late',
    bytes: bytes.length,
    readOnly: false,
    sync: false,
    read: (offset, buffer) =>
      later(() => {
        buffer.set(bytes.subarray(offset, offset + buffer.length));
        return buffer.length;
      }),
    write: (offset, buffer) =>
      later(() => {
        if (offset + buffer.length > good) throw new Error('worn out');
        bytes.set(buffer, offset);
        return buffer.length;
      }),
    flush: () => later(() => undefined),
    discard: (offset, length) =>
      later(() => {
        bytes.fill(0, offset, offset + length);
      }),
    close: () => later(() => undefined),
  };
}

async function late(profile: string, good?: number): Promise<{ chip: Chip; bytes: Uint8Array }> {
  const bytes = new Uint8Array(2 ** 20);
  const chip = await Chip.create({ profile });
  chip.controller.attach(chip.machine.addDisk({ medium: lateMedium(bytes, good) }), 0);
  chip.clearAttention();
  return { chip, bytes };
}

for (const profile of ['lsi53c895a', 'lsi53c895a-burst', 'lsi53c810']) {
  for (const disconnects of [true, false]) {
    test(`${profile}: a medium that answers later, ${disconnects ? 'with' : 'without'} disconnection`, async () => {
      const { chip, bytes } = await late(profile);
      const { memory } = chip.machine;
      const segments = [
        [DATA, 1500],
        [DATA + 1500, 2596],
      ] as const;
      memory.writeBytes(DATA, pattern(4096, 2));
      const out = { cdb: writeTen(3, 8), direction: 'out', segments, disconnects } as const;
      assert.is((await chip.executeLate(out)).status, 0);
      assert.is((await chip.executeLate({ cdb: FLUSH, disconnects })).status, 0);
      assert.equal(bytes.slice(1536, 1536 + 4096), pattern(4096, 2));
      memory.fill(DATA, 0, 4096);
      const back = await chip.executeLate({ cdb: readTen(3, 8), segments, disconnects });
      assert.equal([back.status, back.residual], [0, 0]);
      assert.ok(memory.equals(DATA, pattern(4096, 2)));
    });
  }
}

test('a write that fails when the data is long gone: CHECK CONDITION, MEDIUM ERROR, nothing left over', async () => {
  for (const disconnects of [true, false]) {
    const { chip } = await late('lsi53c895a', 512);
    const out = { cdb: writeTen(8, 1), direction: 'out', segments: [[DATA, 512]], disconnects } as const;
    const result = await chip.executeLate(out);
    assert.equal([result.status, result.residual], [2, 0]);
    await chip.executeLate({ cdb: SENSE, segments: [[DATA, 18]] });
    assert.equal([chip.machine.memory.read8(DATA + 2), chip.machine.memory.read8(DATA + 12)], [3, 0x0c]);
  }
});

test('a bus reset and a chip reset give up what the medium is at', async () => {
  const { chip, bytes } = await late('lsi53c895a');
  chip.machine.memory.writeBytes(DATA, pattern(512, 3));
  for (const how of ['bus', 'chip']) {
    const steps = chip.executeLate({ cdb: readTen(0, 8), segments: [[DATA + 0x1000, 4096]] });
    if (how === 'bus') chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
    else chip.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SRST);
    await steps.then(
      () => assert.unreachable(),
      () => undefined,
    );
    chip.setUp();
    chip.write(regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
    chip.write(regs.LSI_SCNTL1, 0);
    void chip.sist;
    void chip.sist;
    await chip.executeLate({ cdb: [0, 0, 0, 0, 0, 0] });
    const out = { cdb: writeTen(1, 1), direction: 'out', segments: [[DATA, 512]] } as const;
    assert.is((await chip.executeLate(out)).status, 0);
    await chip.executeLate({ cdb: FLUSH });
    assert.equal(bytes.slice(512, 1024), pattern(512, 3));
  }
  await chip.machine.idleMedia();
});

test('a disk that is pulled out while its command is disconnected: the command is gone, the bus goes on', async () => {
  const chip = await Chip.create({ latencyNs: 100_000, targets: [0, 1] });
  chip.clearAttention(0);
  chip.clearAttention(1);
  const message = chip.bytes(DATA, [0xc0]);
  const cdb = chip.bytes(DATA + 16, readTen(0, 1));
  chip.load(`SELECT ATN 0, 0\nMOVE 1, ${message}, WHEN MSG_OUT\nMOVE 10, ${cdb}, WHEN CMD\nMOVE 1, ${DATA + 64}, WHEN MSG_IN
    MOVE SCNTL2 & 0x7f TO SCNTL2\nCLEAR ACK\nWAIT DISCONNECT\nINT 1`);
  chip.write32(regs.LSI_DSP, 0x10_0000);
  chip.machine.advance(chip.machine.now() + 10_000);
  assert.is(chip.read(regs.LSI_DSTAT) & 0x7f, regs.LSI_DSTAT_SIR);
  chip.controller.detachDisk(0);
  assert.is(chip.machine.nextDeadline(), Number.POSITIVE_INFINITY);
  assert.is(chip.execute({ target: 1, cdb: readTen(0, 1), segments: [[DATA, 512]] }).status, 0);
  assert.ok(chip.execute({ cdb: readTen(0, 1), segments: [[DATA, 512]] }).timedOut);
  chip.controller.attach(chip.disk, 0);
  assert.is(chip.execute({ cdb: [0, 0, 0, 0, 0, 0] }).status, 2);
});

test('as a target the chip finds no initiator: RESELECT times out', async () => {
  const chip = await Chip.create();
  chip.load('SET TARGET\nRESELECT 0, 0\nWAIT SELECT 0');
  chip.go();
  assert.is(chip.sist, 0x0400);
});
