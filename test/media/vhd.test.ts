import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytesBackend, MediumError, type MediumReason, openImage, vhdMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { contentOf, pattern, scratchFolder } from './help.ts';
import { needing, qemuImg, same } from './qemu.ts';

const test = suite('media: vhd');
const qemuTest = needing(test, ['qemu-img'], 'qemu-utils');
const folder = scratchFolder();
const MIB = 2 ** 20;

interface Footer {
  readonly type?: number;
  readonly bytes?: number;
  readonly version?: number;
  readonly geometry?: readonly [number, number, number];
  readonly checksum?: number;
}

/** A disk of 1 MiB and its footer, as the specification has it. */
function vhd(footer: Footer = {}): Uint8Array {
  const image = new Uint8Array(MIB + 512);
  image.set(pattern(MIB, 1));
  image.set(new TextEncoder().encode('conectix'), MIB);
  const view = new DataView(image.buffer, MIB);
  const [cylinders, heads, sectors] = footer.geometry ?? [30, 4, 17];
  view.setUint32(8, 2);
  view.setUint32(12, footer.version ?? 0x10000);
  view.setUint32(16, 0xffffffff);
  view.setUint32(20, 0xffffffff);
  view.setUint32(52, footer.bytes ?? MIB);
  view.setUint16(56, cylinders);
  view.setUint8(58, heads);
  view.setUint8(59, sectors);
  view.setUint32(60, footer.type ?? 2);
  const sum = image.subarray(MIB).reduce((total, byte) => total + byte, 0);
  view.setUint32(64, footer.checksum ?? ~sum >>> 0);
  return image;
}

function refuses(image: Uint8Array, reason: MediumReason, message: RegExp): void {
  try {
    vhdMedium(bytesBackend(image, { name: 'a.vhd' }));
  } catch (error) {
    assert.instance(error, MediumError);
    assert.match((error as MediumError).message, message);
    assert.is((error as MediumError).reason, reason);
    return;
  }
  assert.unreachable(`not refused: ${message}`);
}

test('a fixed image is its bytes without the footer, and only read', async () => {
  const medium = vhdMedium(bytesBackend(vhd()));
  same(await contentOf(medium), pattern(MIB, 1), 'the disk');
  assert.is(medium.readOnly, true);
  assert.is(medium.readv(MIB - 512, [new Uint8Array(4096)]), 512);
  const isReadOnly = (error: unknown): boolean =>
    error instanceof MediumError && error.reason === 'read-only';
  assert.throws(() => medium.writev(0, [new Uint8Array(512)]), isReadOnly);
  assert.throws(() => medium.discard(0, 512), isReadOnly);
  const short = vhdMedium(bytesBackend(vhd({ bytes: MIB / 2, geometry: [15, 4, 17] })));
  assert.is(short.bytes, MIB / 2);
});

test('a footer that contradicts itself is refused with its byte and field', () => {
  refuses(
    vhd({ type: 3 }),
    'unsupported',
    /^a.vhd: byte 1048636 \(disk type\): the image is dynamic; only fixed/,
  );
  refuses(vhd({ type: 4 }), 'unsupported', /the image is differencing/);
  refuses(vhd({ type: 0 }), 'unsupported', /of type 0/);
  refuses(vhd({ checksum: 1 }), 'format', /byte 1048640 \(checksum\): 0x1; the footer's is 0x/);
  refuses(vhd({ version: 0x20000 }), 'unsupported', /byte 1048588 \(file format version\): 2/);
  refuses(vhd({ bytes: MIB + 512 }), 'format', /byte 1048624 \(current size\): 1049088; .*up to 1048576/);
  refuses(vhd({ bytes: 1000 }), 'format', /current size/);
  refuses(vhd({ geometry: [0, 4, 17] }), 'format', /byte 1048632 \(disk geometry\): 0\/4\/17/);
  refuses(vhd({ geometry: [1000, 16, 255] }), 'format', /disk geometry/);
  refuses(pattern(4096, 2), 'format', /no footer of a VHD image/);
  refuses(new Uint8Array(100), 'format', /no footer/);
});

qemuTest(
  'what qemu-img makes is read: fixed ones, and as a backing file; dynamic ones are refused',
  async () => {
    const raw = join(folder, 'disk.raw');
    const fixed = join(folder, 'fixed.vhd');
    const dynamic = join(folder, 'dynamic.vhd');
    writeFileSync(raw, pattern(3 * MIB, 3));
    qemuImg('convert', '-f', 'raw', '-O', 'vpc', '-o', 'subformat=fixed,force_size=on', raw, fixed);
    qemuImg('convert', '-f', 'raw', '-O', 'vpc', '-o', 'subformat=dynamic', raw, dynamic);
    const before = readFileSync(fixed);
    const medium = await openImage(fixed);
    same(await contentOf(medium), pattern(3 * MIB, 3), 'fixed');
    medium.close();
    const over = join(folder, 'over.qcow2');
    qemuImg('create', '-f', 'qcow2', '-b', fixed, '-F', 'vpc', over);
    const top = await openImage(over);
    top.writev(0, [pattern(512, 4)]);
    same((await contentOf(top)).subarray(512), pattern(3 * MIB, 3).subarray(512), 'over it');
    top.close();
    same(readFileSync(fixed), before, 'unchanged');
    for (const format of [undefined, 'vhd'] as const) {
      const message = await openImage(dynamic, format === undefined ? {} : { format }).then(
        () => 'opened',
        (error: Error) => error.message,
      );
      assert.match(message, /dynamic.vhd: byte \d+ \(disk type\): the image is dynamic/);
    }
  },
);
