// `backplane run` as a user runs it, on the built CLI and the real module.

import { spawn } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runNode } from '../run/node.ts';
import { assert, root, suite } from '../run/suite.ts';
import { backplane, keepFolder, withFolder } from './command.ts';

const test = suite('backplane run');

interface Output {
  ok: boolean;
  scenario: string;
  controller: string;
  kernel: string;
  input: { path: string; bytes: number; sha256: string };
  readback: { sha256: string; identical: boolean };
  pages: { user: number; direct: number; bounced: number };
  copiedBytes: number;
  segments: number;
  commands: number;
  interrupts: number;
  findings: {
    rule: string;
    message: string;
    address: number;
    length: number;
    expected: boolean;
    count: number;
  }[];
  parts: {
    title: string;
    kernel: string;
    ways?: string[];
    ok: boolean;
    skipped?: string;
    problems: string[];
    overwrittenBytes: number;
  }[];
}

function runJson(args: readonly string[]): { status: number | null; output: Output; stderr: string } {
  const { status, stdout, stderr } = backplane(['run', '--json', ...args]);
  return { status, output: JSON.parse(stdout) as Output, stderr };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

test('the default scenario tells the story on the lock file and ends well', () => {
  const { status, output, stderr } = runJson([]);
  const file = readFileSync(join(root, 'package-lock.json'));
  assert.is(status, 0);
  assert.is(stderr, '');
  assert.equal(
    [output.ok, output.scenario, output.controller, output.kernel],
    [true, 'default', 'aha1542', 'linux'],
  );
  assert.equal([output.input.bytes, output.input.sha256], [file.length, sha256(file)]);
  assert.equal([output.readback.sha256, output.readback.identical], [sha256(file), true]);
  const pages = 2 * Math.ceil(file.length / 4096);
  assert.equal(output.pages, { user: pages, direct: 0, bounced: pages });
  assert.is(output.copiedBytes, 2 * Math.ceil(file.length / 512) * 512);
  assert.ok(output.commands >= 3 && output.interrupts >= 1 && output.segments >= 2);
});

test('its second part reads on Solaris what Linux wrote, through both of the interfaces', () => {
  const { output } = runJson([]);
  const file = readFileSync(join(root, 'package-lock.json'));
  const part = output.parts[1] as Output['parts'][number] &
    Pick<Output, 'readback' | 'pages' | 'copiedBytes'>;
  assert.equal(
    output.parts.map(({ kernel }) => kernel),
    ['linux', 'solaris', 'linux'],
  );
  assert.equal([part?.ok, part?.ways], [true, ['ddi_umem_iosetup', 'physio']]);
  assert.equal(part?.readback, { sha256: sha256(file), identical: true, differingBytes: 0 });
  const pages = 2 * Math.ceil(file.length / 4096);
  assert.equal(part?.pages, { user: pages, direct: 0, bounced: pages });
  assert.is(part?.copiedBytes, 2 * Math.ceil(file.length / 512) * 512);
});

test('its last part finds the mistake: where, how long, under which rule', () => {
  const { output } = runJson([]);
  const rules = new Set(output.findings.map(({ rule }) => rule));
  assert.equal([...rules].sort(), ['dev-unmapped', 'map-mask']);
  assert.ok(output.findings.every(({ expected }) => expected));
  const wrong = output.findings.find(({ rule }) => rule === 'dev-unmapped');
  assert.ok(wrong !== undefined && wrong.address < 2 ** 24 && wrong.length > 0);
  assert.ok((output.parts[2]?.overwrittenBytes ?? 0) > 0);
});

test('the report for people names pages, segments, the memory map and the rules', () => {
  const { status, stdout } = backplane(['run']);
  assert.is(status, 0);
  for (const pattern of [
    /pages +\d+ pinned: 0 direct, \d+ bounced/,
    /scatter list of the first command/,
    /reachable +stands for 1_/,
    /the address lines end here/,
    /▓ \d+ bounce pages/,
    /readback +identical, byte for byte/,
    /not reachable: the board drives/,
    /bytes of another process overwritten/,
    /map-mask .*declared by the scenario/,
    /ok: 3 parts went as the scenario says/,
  ]) {
    assert.match(stdout, pattern);
  }
  assert.not.match(stdout, new RegExp(String.fromCharCode(27)));
});

test('NO_COLOR and FORCE_COLOR decide about colour', () => {
  const colour = new RegExp(`${String.fromCharCode(27)}\\[`);
  assert.match(backplane(['run'], { NO_COLOR: '', FORCE_COLOR: '1' }).stdout, colour);
  assert.not.match(backplane(['run'], { NO_COLOR: '1', FORCE_COLOR: '1' }).stdout, colour);
});

test('the same seed gives the same output, byte for byte', () => {
  const first = backplane(['run', '--json', '--seed', '7']).stdout;
  assert.is(backplane(['run', '--json', '--seed', '7']).stdout, first);
  assert.is.not(backplane(['run', '--json', '--seed', '8']).stdout, first);
});

for (const controller of [
  'aha1542',
  'aha1542b',
  'ahci',
  'ahci-sb600',
  'ahci-32bit',
  'ahci-1slot',
  'piix-ide',
  'piix-128prd',
  'virtio-blk',
  'virtio-blk-segmax1',
  'nvme',
  'nvme-48lines',
  'nvme-mdts1',
  'nvme-nosgl',
  'lsi53c895a',
  'lsi53c810',
]) {
  test(`a file of an odd size comes back identical through ${controller}`, () => {
    withFolder((folder) => {
      const path = join(folder, 'odd');
      const bytes = randomFillSync(new Uint8Array(5_000_001));
      writeFileSync(path, bytes);
      const { status, output } = runJson(['--file', path, '--controller', controller]);
      assert.equal(
        output.parts.flatMap(({ problems }) => problems),
        [],
      );
      assert.equal([status, output.readback.identical, output.readback.sha256], [0, true, sha256(bytes)]);
    });
  });
}

test('a controller that reaches every page copies nothing and skips the mistake', () => {
  const { status, output } = runJson(['--controller', 'ahci']);
  assert.is(status, 0);
  assert.is(output.pages.bounced, 0);
  assert.is(output.copiedBytes, 0);
  assert.match(output.parts[2]?.skipped ?? '', /64 address lines and reaches every page/);
});

test('--kernel solaris: a file of an odd size is written and read', () => {
  withFolder((folder) => {
    const path = join(folder, 'odd');
    const bytes = randomFillSync(new Uint8Array(5_000_001));
    writeFileSync(path, bytes);
    const { status, output } = runJson(['--file', path, '--controller', 'lsi53c810', '--kernel', 'solaris']);
    assert.equal(
      output.parts.flatMap(({ problems }) => problems),
      [],
    );
    assert.ok(output.parts.every(({ kernel }) => kernel === 'solaris'));
    assert.equal([status, output.readback.identical, output.readback.sha256], [0, true, sha256(bytes)]);
  });
});

test('--kernel solaris: the report names the interfaces, and --trace shows them', () => {
  const { status, stdout, stderr } = backplane(['run', '--kernel', 'solaris', '--trace']);
  assert.is(status, 0);
  assert.match(stdout, /kernel +solaris, seed 1\n/);
  assert.match(stdout, /kernel +solaris: ddi_umem_iosetup, physio/);
  for (const event of ['pin', 'buf_start', 'dma_bind', 'dma_cookie', 'driver_submit', 'command', 'buf_done'])
    assert.match(stderr, new RegExp(`\\b${event}\\b`));
});

test('--kernel linux runs all of it there', () => {
  const { status, output } = runJson(['--kernel', 'linux']);
  assert.is(status, 0);
  assert.ok(output.parts.every(({ kernel, ways }) => kernel === 'linux' && ways === undefined));
});

for (const controller of ['aha1542', 'ahci-sb600']) {
  test(`--no-bounce --kernel solaris on ${controller} is found: status 1`, () => {
    const { status, output } = runJson(['--no-bounce', '--kernel', 'solaris', '--controller', controller]);
    assert.is(status, 1);
    assert.not.ok(output.readback.identical);
    assert.ok(output.findings.some(({ rule, expected }) => rule === 'map-mask' && !expected));
  });
}

for (const controller of ['aha1542', 'ahci-sb600', 'piix-ide']) {
  test(`--no-bounce on ${controller} is found: status 1`, () => {
    const { status, output } = runJson(['--no-bounce', '--controller', controller]);
    assert.is(status, 1);
    assert.not.ok(output.ok);
    assert.not.ok(output.readback.identical);
    assert.ok(output.findings.some(({ rule, expected }) => rule === 'map-mask' && !expected));
  });
}

for (const controller of ['ahci-26lines', 'nvme-26lines']) {
  test(`${controller} drives fewer lines than it claims, and is found: status 1`, () => {
    const { status, output } = runJson(['--controller', controller]);
    assert.is(status, 1);
    assert.ok(output.findings.some(({ rule }) => rule === 'dev-truncated'));
  });
}

test('--no-bounce says so where there is nothing to bounce', () => {
  const { status, output, stderr } = runJson(['--no-bounce', '--controller', 'ahci']);
  assert.equal([status, output.findings], [0, []]);
  assert.match(stderr, /--no-bounce changed nothing: .* reaches every page/);
});

test('a scenario that expects what does not come fails', () => {
  withFolder((folder) => {
    const path = join(folder, 'mine.json');
    const part = { title: 'a', operations: [{ op: 'write' }, { op: 'read' }] };
    const expect = { findings: ['dev-overrun'] };
    writeFileSync(path, JSON.stringify({ name: 'mine', parts: [{ ...part, expect }] }));
    const { status, output } = runJson([path]);
    assert.is(status, 1);
    assert.equal(output.parts[0]?.problems, ['the guard did not report dev-overrun, which was expected']);
  });
});

test('a fault plan fails the request that it strikes', () => {
  withFolder((folder) => {
    const path = join(folder, 'mine.json');
    writeFileSync(
      path,
      JSON.stringify({
        name: 'mine',
        controller: 'ahci',
        faults: [{ kind: 'error', operations: ['read'], first: 3, last: 3 }],
        parts: [{ title: 'a', operations: [{ op: 'write' }, { op: 'read' }] }],
      }),
    );
    const { status, output } = runJson([path]);
    assert.is(status, 1);
    assert.match(output.parts[0]?.problems[0] ?? '', /read at sector 0 failed with errno 5/);
  });
});

test('an iovec shape is followed, and memory that cannot be mapped is copied', () => {
  withFolder((folder) => {
    const path = join(folder, 'mine.json');
    const iovec = [
      { offset: 2, bytes: 1000 },
      { offset: 0, bytes: 3001 },
    ];
    const operations = [
      { op: 'write', iovec },
      { op: 'read', iovec },
    ];
    writeFileSync(
      path,
      JSON.stringify({ name: 'mine', controller: 'ahci', parts: [{ title: 'a', operations }] }),
    );
    const { status, output } = runJson([path]);
    assert.equal([status, output.readback.identical], [0, true]);
    assert.ok(output.copiedBytes > 0);
  });
});

test('an image is left as it is unless it is to be written in place', () => {
  withFolder((folder) => {
    const image = join(folder, 'disk.img');
    const before = new Uint8Array(1 << 20).fill(0x5a);
    writeFileSync(image, before);
    const file = readFileSync(join(root, 'package-lock.json'));
    assert.is(runJson(['--image', image]).status, 0);
    assert.is(sha256(readFileSync(image)), sha256(before));
    assert.is(runJson(['--image', image, '--in-place']).status, 0);
    const after = readFileSync(image);
    assert.is(sha256(after.subarray(0, file.length)), sha256(file));
    assert.is(after[(1 << 20) - 1], 0x5a);
  });
});

test('a new qcow2 image takes what is written, and is found to be one the next time', () => {
  withFolder((folder) => {
    const image = join(folder, 'new.qcow2');
    const created = backplane(['run', '--image', image, '--create', '2T', '--controller', 'nvme', '--json']);
    assert.is(created.status, 0, created.stderr);
    assert.is(JSON.parse(created.stdout).disk.bytes, 2 * 2 ** 40);
    const before = readFileSync(image);
    assert.ok(before.length < 2 ** 21, `${before.length} bytes`);
    assert.is(before.toString('latin1', 0, 3), 'QFI');
    assert.is(backplane(['run', '--image', image, '--controller', 'nvme']).status, 0);
    assert.is(sha256(readFileSync(image)), sha256(before));
    assert.is(backplane(['run', '--image', image, '--image-format', 'raw', '--json']).status, 0);
    const again = backplane(['run', '--image', image, '--create', '1M']);
    assert.is(again.status, 2);
    assert.match(again.stderr, /new\.qcow2 exists; leave out --create/);
    const format = backplane(['run', '--image', image, '--image-format', 'qcow']);
    assert.is(format.status, 2);
    assert.match(format.stderr, /--image-format knows no "qcow" \(did you mean "qcow2"\?\)/);
    assert.match(backplane(['run', '--create', '1M']).stderr, /--create says how --image is used/);
  });
});

test('an image that is none is refused: missing, not a multiple of the sector, smaller than the file', () => {
  withFolder((folder) => {
    const odd = join(folder, 'odd.img');
    writeFileSync(odd, new Uint8Array(1000));
    for (const [path, expected] of [
      [join(folder, 'none.img'), /none\.img/],
      [odd, /odd\.img.*1000.*512/],
      [folder, /directory/],
    ] as const) {
      const { status, stdout, stderr } = backplane(['run', '--image', path]);
      assert.match(stderr, expected);
      assert.equal([status, stdout, stderr.trimEnd().split('\n').length], [2, '', 1]);
    }
    writeFileSync(odd, new Uint8Array(1024));
    const { status, stderr } = backplane(['run', '--image', odd]);
    assert.match(stderr, /does not fit the disk of 1024 bytes/);
    assert.is(status, 2);
  });
});

test('a file of zeros differs as well, when nothing of it arrives', () => {
  withFolder((folder) => {
    const file = join(folder, 'zeros');
    writeFileSync(file, new Uint8Array(9000));
    const { status, output } = runJson(['--file', file]);
    assert.equal([status, output.ok], [0, true]);
    const broken = backplane(['run', '--file', file, '--no-bounce']);
    assert.match(broken.stdout, /1\. as it should be, but with bouncing left out/);
    assert.match(broken.stdout, /differs in 9,000 bytes/);
    assert.is(broken.status, 1);
  });
});

test('the report names paths as they are written here, and what becomes of the image', () => {
  withFolder((folder) => {
    const file = join(folder, 'one');
    const image = join(folder, 'disk.img');
    writeFileSync(file, 'x');
    writeFileSync(image, new Uint8Array(65536));
    const kept = backplane(['run', '--file', file, '--image', image]).stdout;
    assert.match(kept, /input {5}.*one, 1 byte\n/);
    assert.match(kept, /disk {6}overlay of .*disk\.img, 64 KiB, behind/);
    const inPlace = backplane(['run', '--file', file, '--image', image, '--in-place']).stdout;
    assert.match(inPlace, /disk {6}.*disk\.img, written in place, 64 KiB, behind/);
  });
  assert.match(backplane(['run'], {}).stdout, /input {5}package-lock\.json, /);
});

test('an installed package, which has no lock file, moves its package.json', () => {
  withFolder((folder) => {
    for (const name of ['bin', 'dist', 'package.json']) {
      cpSync(join(root, name), join(folder, name), { recursive: true });
    }
    const { status, stdout } = runNode([join(folder, 'bin/backplane.mjs'), 'run']);
    assert.match(stdout, /input {5}.*package\.json, /);
    assert.is(status, 0);
  });
});

test('the list of scenarios is an array with --json', () => {
  const list = JSON.parse(backplane(['run', '--list', '--json']).stdout) as { name: string }[];
  assert.equal(
    list.map(({ name }) => name),
    ['default'],
  );
});

test('FORCE_COLOR colours a pipe and NO_COLOR wins over it', () => {
  const coloured = (env: Record<string, string>): boolean =>
    backplane(['controllers'], env).stdout.includes('\x1b[');
  assert.equal(
    [
      coloured({ NO_COLOR: '' }),
      coloured({ NO_COLOR: '', FORCE_COLOR: '1', TERM: 'dumb' }),
      coloured({ NO_COLOR: '', FORCE_COLOR: '0' }),
      coloured({ NO_COLOR: '1', FORCE_COLOR: '1' }),
    ],
    [false, true, false, false],
  );
});

test('a scenario may have a byte order mark, one region of RAM, and requests that fail as declared', () => {
  withFolder((folder) => {
    const path = join(folder, 'mine.json');
    const scenario = (failedRequests: number): string =>
      JSON.stringify({
        name: 'mine',
        machine: { ram: [{ base: 0, bytes: 1 << 24 }] },
        faults: [{ kind: 'error', operations: ['read'], times: 1 }],
        parts: [
          {
            title: 'a',
            operations: [
              { op: 'write', bytes: 512 },
              { op: 'read', bytes: 512 },
            ],
            expect: { failedRequests, identical: false },
          },
        ],
      });
    writeFileSync(path, `\ufeff${scenario(1)}`);
    assert.is(backplane(['run', path]).status, 0);
    writeFileSync(path, scenario(2));
    const { status, stdout } = backplane(['run', path]);
    assert.match(stdout, /wrong {5}1 request failed, and 2 were expected to/);
    assert.is(status, 1);
  });
});

test('Ctrl-C says what was written', async () => {
  await new Promise<void>((resolve, reject) => {
    const { folder, done } = keepFolder();
    const file = join(folder, 'large');
    const image = join(folder, 'disk.img');
    writeFileSync(file, randomFillSync(new Uint8Array(48 << 20)));
    writeFileSync(image, new Uint8Array(48 << 20));
    const args = ['run', '--file', file, '--image', image, '--in-place'];
    const child = spawn(process.execPath, [join(root, 'bin/backplane.mjs'), ...args]);
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += String(text);
    });
    const poll = setInterval(() => {
      const written = readFileSync(image)
        .subarray(0, 4096)
        .some((byte) => byte !== 0);
      if (!written) return;
      clearInterval(poll);
      child.kill('SIGINT');
    }, 5);
    child.on('close', (status) => {
      clearInterval(poll);
      done();
      try {
        assert.is(status, 130);
        assert.match(
          stderr,
          /interrupted: .*disk\.img is changed: [\d,]+ bytes were written, the rest is as it was/,
        );
        resolve();
      } catch (error) {
        reject(error as Error);
      }
    });
  });
});
