// The guard where a controller is embedded: address rules from the beginning, mapping rules once mappings are told of.

import { assert, suite } from '../run/suite.ts';
import { NvmeGuest } from './nvme-guest.ts';
import { embedded } from './rig.ts';

const test = suite('embed: guard');
const RAM_BYTES = 2 ** 20;
const DATA = 0x20000;
const MEDIA = { bytes: 65536 };

test('EMB-40 address rules: truncated, holes, registers, no bus master', async () => {
  const ram = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({ kind: 'nvme', profile: 'nvme-26lines', media: MEDIA, dma: ram });
  const guest = new NvmeGuest(nvme, ram);
  guest.setup();
  guest.command(1, [guest.READ, 1, 2 ** 30 + DATA, 0]);
  guest.command(1, [guest.READ, 1, 2 * RAM_BYTES, 0]);
  nvme.configWrite(0x10, 4, 0x2000000);
  guest.command(1, [guest.READ, 1, 0x2000000, 0]);
  guest.submit([guest.READ, 1, DATA, 0], 1);
  nvme.configWrite(4, 2, 2);
  nvme.advance(1_000_000);
  const rules = nvme.guard.findings().map(({ rule }) => rule);
  assert.equal([...new Set(rules)], ['dev-truncated', 'dev-hole', 'dev-registers', 'dev-nomaster']);
  const [first] = nvme.guard.findings();
  assert.is(first?.device, 'nvme.0');
  assert.is(first?.address, 2 ** 30 + DATA);
  assert.is(first?.driven, DATA);
});

test('EMB-41 a descriptor chain that loops is found', async () => {
  const ram = new Uint8Array(RAM_BYTES);
  const words = new DataView(ram.buffer);
  const virtio = await embedded({ kind: 'virtio-blk', media: MEDIA, dma: ram });
  virtio.enable();
  // VIRTIO 1.2, 4.1.4.10: the legacy interface's queue address, notification and status.
  virtio.write(0, 0x12, 1, 7);
  virtio.write(0, 8, 4, 0x10);
  const entries = virtio.read(0, 0x0c, 2);
  words.setUint32(0x10000 + 8, 16, true);
  words.setUint16(0x10000 + 12, 1, true); // goes on, with itself
  words.setUint16(0x10000 + entries * 16 + 2, 1, true);
  virtio.write(0, 0x10, 2, 0);
  virtio.advance(1_000_000);
  assert.is(virtio.guard.findings()[0]?.rule, 'desc-loop');
});

test('EMB-42 mapping rules begin with the first mapping', async () => {
  const ram = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({ kind: 'nvme', media: MEDIA, dma: ram, guard: { capacity: 16 } });
  const guest = new NvmeGuest(nvme, ram);
  guest.setup();
  assert.is(guest.command(1, [guest.READ, 1, DATA, 0]), 0);
  assert.equal(nvme.guard.findings(), []);
  nvme.guard.map(0x10000, 0x8000, 'both', 'rings');
  const data = nvme.guard.map(DATA, 512, 'write', 'buffer of a read');
  guest.command(1, [guest.READ, 1, DATA, 0]);
  assert.equal(nvme.guard.findings(), []);
  guest.command(1, [guest.READ, 1, DATA, 0, 0, 1]);
  guest.command(1, [guest.WRITE, 1, DATA, 0]);
  nvme.guard.unmap(data);
  guest.command(1, [guest.READ, 1, DATA, 0]);
  guest.command(1, [guest.READ, 1, 2 * DATA, 0]);
  const rules = nvme.guard.findings().map(({ rule }) => rule);
  assert.equal(rules, ['dev-overrun', 'dev-direction', 'dev-after-unmap', 'dev-unmapped']);
  assert.match(nvme.guard.findings()[2]?.message ?? '', /buffer of a read/);
});

test('EMB-43 off, it finds nothing', async () => {
  const ram = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({ kind: 'nvme', media: MEDIA, dma: ram, guard: false });
  const guest = new NvmeGuest(nvme, ram);
  guest.setup();
  assert.is(nvme.guard.map(DATA, 512, 'read'), 0);
  guest.command(1, [guest.READ, 1, 2 * RAM_BYTES, 0]);
  assert.equal(nvme.guard.findings(), []);
});
