// `backplane run --image`: images of every format, and NBD servers.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROLLERS } from '../../src/controllers/index.ts';
import { listening } from '../media/nbd-server.ts';
import { needing, qemuImg } from '../media/qemu.ts';
import { assert, suite } from '../run/suite.ts';
import { backplane, keepFolder, withFolder } from './command.ts';

const test = suite('backplane run --image');
const nbdTest = needing(test, ['nbdkit'], 'nbdkit');
const qemuTest = needing(test, ['qemu-img'], 'qemu-utils');
const MIB = 2 ** 20;

const input = Buffer.from(Array.from({ length: 40_000 }, (_, i) => (i * 5 + (i >> 8)) & 0xff));

/** Serves a file by nbdkit while `work` does; both are given a folder. */
async function served(
  work: (uri: string, server: ChildProcess, folder: string) => Promise<void>,
  filters: readonly string[] = [],
  parameters: readonly string[] = [],
): Promise<void> {
  const { folder, done } = keepFolder();
  const socket = join(folder, 'nbd.sock');
  const disk = join(folder, 'disk.raw');
  writeFileSync(disk, new Uint8Array(4 * MIB));
  writeFileSync(join(folder, 'input'), input);
  const args = ['-f', '-U', socket, ...filters, 'file', disk, ...parameters];
  const server = spawn('nbdkit', args, { stdio: 'ignore' });
  try {
    await listening(socket, () => server.exitCode === null);
    await work(`nbd+unix:///?socket=${socket}`, server, folder);
  } finally {
    server.kill('SIGKILL');
    done();
  }
}

nbdTest('every controller works on a disk behind an NBD server, as on one in memory', () =>
  served(async (uri, _server, folder) => {
    const file = join(folder, 'input');
    for (const { kind } of CONTROLLERS) {
      const args = ['run', '--file', file, '--controller', kind, '--disk-size', '4M', '--json'];
      const memory = backplane(args);
      const { status, stdout, stderr } = backplane([
        ...args.filter((arg) => !/^(--disk-size|4M)$/.test(arg)),
        '--image',
        uri,
      ]);
      assert.is(status, 0, stderr);
      const report = JSON.parse(stdout);
      assert.is(report.disk.bytes, 4 * MIB);
      assert.equal({ ...report, disk: null }, { ...JSON.parse(memory.stdout), disk: null });
      const disk = readFileSync(join(folder, 'disk.raw'));
      assert.ok(disk.every((byte) => byte === 0));
    }
    const { status, stderr } = backplane(['run', '--file', file, '--image', uri, '--in-place']);
    assert.is(status, 0, stderr);
    const disk = readFileSync(join(folder, 'disk.raw'));
    assert.is(Buffer.compare(disk.subarray(0, input.length), input), 0);
  }),
);

nbdTest('an NBD server that fails is a result, with its words', () =>
  served(
    async (uri, _server, folder) => {
      const args = [
        'run',
        '--file',
        join(folder, 'input'),
        '--image',
        uri,
        '--in-place',
        '--controller',
        'nvme',
      ];
      const { status, stderr, stdout } = backplane(args);
      assert.is(status, 1, stderr);
      assert.match(stderr, /backplane: nbd\+unix:.*: write of 40448 bytes at byte 0 failed: no space left/);
      assert.match(stdout, /write at sector 0 failed/);
    },
    ['--filter=error'],
    ['error-pwrite=ENOSPC', 'error-pwrite-rate=100%'],
  ),
);

nbdTest('an NBD server that cannot be read is a result, though nothing is written to it', () =>
  served(
    async (uri, _server, folder) => {
      const { status, stderr } = backplane(['run', '--file', join(folder, 'input'), '--image', uri]);
      assert.is(status, 1, stderr);
      assert.match(
        stderr,
        /backplane: nbd\+unix:.*: read of \d+ bytes at byte \d+ failed: input\/output error/,
      );
    },
    ['--filter=error'],
    ['error-pread=EIO', 'error-pread-rate=100%'],
  ),
);

test('addresses and formats that do not go together are refused with what would be right', () => {
  const refuses = (args: readonly string[], message: RegExp): void => {
    const { status, stderr, stdout } = backplane(['run', ...args]);
    assert.match(stderr, message);
    assert.is(stderr.trimEnd().split('\n').length, 1, stderr);
    assert.is(stdout, '');
    assert.is(status, 2);
  };
  refuses(['--image', 'nbd:localhost:10809'], /write nbd:\/\/localhost:10809\//);
  refuses(['--image', 'nbds://localhost/'], /TLS is not supported/);
  refuses(['--image', 'nbd+unix:///?socket=/nowhere/at/all'], /there is no such socket/);
  refuses(['--image', 'nbd://localhost/', '--create', '1M'], /--create makes files/);
  refuses(['--image', 'nowhere.vhd', '--create', '1M'], /--create makes raw and qcow2 images, not vhd/);
  refuses(['--image', 'nbd://localhost/', '--image-format', 'qcow2'], /what an NBD server exports is raw/);
});

qemuTest('a VHD image is only read', () => {
  withFolder((folder) => {
    const image = join(folder, 'disk.vhd');
    qemuImg('create', '-f', 'vpc', '-o', 'subformat=fixed,force_size=on', image, '1M');
    const before = readFileSync(image);
    const kept = backplane(['run', '--image', image, '--controller', 'ahci', '--json']);
    assert.is(kept.status, 0, kept.stderr);
    assert.is(JSON.parse(kept.stdout).disk.bytes, MIB);
    const refused = backplane(['run', '--image', image, '--in-place']);
    assert.is(refused.status, 2);
    assert.match(refused.stderr, /disk\.vhd is of a format that is only read; leave out --in-place/);
    assert.is(Buffer.compare(readFileSync(image), before), 0);
  });
});

test('a disk of terabytes in memory takes no more than what is written', () => {
  const { status, stdout, stderr } = backplane(['run', '--disk-size', '8T', '--json']);
  assert.is(status, 0, stderr);
  assert.is(JSON.parse(stdout).disk.bytes, 8 * 2 ** 40);
});
