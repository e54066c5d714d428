// An embedder saves its own RAM, and the controller's half as bytes.

import { SnapshotError } from '../../src/machine/index.ts';
import { fromPromises, overlay, ramMedium } from '../../src/media/index.ts';
import { pattern, turn } from '../media/help.ts';
import { assert, suite } from '../run/suite.ts';
import { NvmeGuest } from './nvme-guest.ts';
import { embedded } from './rig.ts';

const test = suite('embed: snapshots');
const RAM_BYTES = 2 ** 20;
const DATA = 0x20000;
const CONTENT = pattern(65536, 9);

test('EMB-50 a command in flight goes on in another process’s controller', async () => {
  const media = () => overlay(ramMedium(CONTENT.length));
  for (const make of [() => CONTENT, media]) {
    const ram = new Uint8Array(RAM_BYTES);
    const nvme = await embedded({ kind: 'nvme', media: make(), dma: ram });
    const guest = new NvmeGuest(nvme, ram);
    guest.setup();
    ram.set(CONTENT.subarray(0, 512), DATA);
    guest.submit([guest.WRITE, 1, DATA, 20], 1);
    nvme.advance(5_000);
    const saved = nvme.save();
    const ramThen = ram.slice();

    const heard: boolean[] = [];
    const other = await embedded({
      kind: 'nvme',
      media: make(),
      dma: ramThen,
      irq: (level) => void heard.push(level),
    });
    other.restore(saved);
    assert.is(other.now(), nvme.now());
    assert.is(other.barAddress(0), 0xfe000000);
    nvme.advance(100_000);
    other.advance(100_000);
    assert.equal(ramThen, ram);
    assert.equal(other.disks[0]?.read(20 * 512, 512), CONTENT.slice(0, 512));
    assert.is(heard.at(-1), true);
    assert.is(other.lines, nvme.lines);
  }
});

test('EMB-51 what was saved is put back, time, findings and mappings too', async () => {
  const ram = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({ kind: 'nvme', media: CONTENT, dma: ram });
  const guest = new NvmeGuest(nvme, ram);
  guest.setup();
  const before = nvme.save();
  const ramBefore = ram.slice();
  const time = nvme.now();
  nvme.guard.map(0x10000, 0x8000, 'both');
  guest.submit([guest.READ, 1, DATA, 0], 1);
  nvme.advance(1_000_000);
  assert.is(nvme.guard.findings().length, 1);
  const after = nvme.save();
  nvme.restore(before);
  ram.set(ramBefore);
  assert.is(nvme.now(), time);
  assert.equal(nvme.guard.findings(), []);
  guest.submit([guest.READ, 1, DATA, 0], 1);
  nvme.advance(1_000_000);
  assert.equal(nvme.guard.findings(), []);
  nvme.restore(after);
  assert.is(nvme.guard.findings()[0]?.rule, 'dev-unmapped');
});

test('EMB-52 a snapshot that does not fit is refused, and names why', async () => {
  const make = (ramBytes: number, profile = 'nvme') =>
    embedded({ kind: 'nvme', profile, media: CONTENT, dma: new Uint8Array(ramBytes) });
  const nvme = await make(RAM_BYTES);
  const saved = nvme.save();
  const refused = (board: Awaited<ReturnType<typeof make>>, bytes: Uint8Array, why: RegExp): void => {
    const before = board.save();
    assert.throws(
      () => board.restore(bytes),
      (error: unknown) => error instanceof SnapshotError && why.test(error.message),
    );
    assert.equal(board.save(), before);
  };
  refused(await make(2 * RAM_BYTES), saved, /another machine: there the host's RAM of 1048576 bytes at 0x0/);
  refused(await make(RAM_BYTES, 'nvme-mdts1'), saved, /another machine: .*nvme-mdts1/);
  refused(nvme, saved.slice(0, -1), /./);
  refused(
    nvme,
    saved.map((byte, i) => (i === saved.length >> 1 ? byte ^ 1 : byte)),
    /./,
  );
});

test('EMB-53 a medium that was at work is asked again', async () => {
  const inner = ramMedium(CONTENT.length);
  inner.writev(0, [CONTENT]);
  let asked = 0;
  const media = fromPromises({
    name: 'remote',
    bytes: CONTENT.length,
    // The first question is never answered.
    read: (offset, buffer) => {
      if (asked++ === 0) return new Promise(() => undefined);
      return Promise.resolve(inner.readv(offset, [buffer]));
    },
  });
  const ram = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({ kind: 'nvme', media, dma: ram });
  const guest = new NvmeGuest(nvme, ram);
  guest.setup();
  guest.submit([guest.READ, 1, DATA, 2], 1);
  nvme.advance(1_000_000);
  await turn();
  assert.is(asked, 1);
  nvme.restore(nvme.save());
  nvme.advance(1_000_000);
  await nvme.waitMedia();
  assert.is(asked, 2);
  nvme.run();
  assert.is(guest.ended(1), 1);
  assert.equal(ram.slice(DATA, DATA + 512), CONTENT.slice(1024, 1536));
});
