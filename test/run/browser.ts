// A real browser, headless, driven over a pipe by Chromium's DevTools protocol. No package is needed for that.
// Specification: https://chromedevtools.github.io/devtools-protocol/ (Browser, Target, Page, Runtime, Input).

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';

/** Debian's name; another one can be given. */
export const CHROMIUM: string = process.env.BACKPLANE_CHROMIUM ?? 'chromium';
const FLAGS = [
  '--headless',
  '--remote-debugging-pipe',
  '--no-sandbox', // containers have no user namespaces, and it shows our own pages only
  '--disable-gpu',
  '--disable-quic',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--no-first-run',
];
const POLL_MS = 100;
const CLOSE_MS = 5000;

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

interface Evaluation {
  readonly result: { readonly value?: unknown; readonly description?: string };
  readonly exceptionDetails?: {
    readonly text: string;
    readonly exception?: { readonly description?: string };
  };
}

/** One page of one browser. */
export class Browser {
  /** What the page logged, and errors that it did not catch. */
  readonly console: string[] = [];
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #calls = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  #session: string | undefined;
  #count = 0;
  #text = '';
  #said = '';

  private constructor(process: ChildProcess, folder: string) {
    this.#process = process;
    this.#folder = folder;
    const [, , , , output] = process.stdio;
    (output as Readable).setEncoding('utf8').on('data', (text: string) => this.#take(text));
    process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-2000);
    });
    const ended = (why: string): void => {
      for (const { reject } of this.#calls.values()) reject(new Error(`${CHROMIUM} ${why}: ${this.#said}`));
      this.#calls.clear();
    };
    process.on('error', (error) => ended(error.message));
    process.on('exit', (code, signal) => ended(`ended with ${signal ?? code}`));
  }

  /** A browser with an empty page of that size in CSS pixels. */
  static async open({ width = 1280, height = 900 } = {}): Promise<Browser> {
    const folder = mkdtempSync(join(tmpdir(), 'backplane-browser-'));
    const flags = [...FLAGS, `--user-data-dir=${folder}`, `--window-size=${width},${height}`];
    const stdio = ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] as const;
    const browser = new Browser(spawn(CHROMIUM, flags, { stdio: [...stdio] }), folder);
    const { targetId } = await browser.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.call('Target.attachToTarget', { targetId, flatten: true });
    browser.#session = String(sessionId);
    await browser.call('Runtime.enable');
    await browser.call('Page.enable');
    return browser;
  }

  /** A method of the protocol, of the page once there is one. */
  call(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<Record<string, unknown>> {
    const id = ++this.#count;
    const session = this.#session === undefined ? {} : { sessionId: this.#session };
    const [, , , input] = this.#process.stdio;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve: (result) => resolve(result as Record<string, unknown>), reject });
      (input as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    });
  }

  async goTo(url: string): Promise<void> {
    const { errorText } = await this.call('Page.navigate', { url });
    if (errorText !== undefined) throw new Error(`${url}: ${String(errorText)}`);
    await this.until(`document.readyState === 'complete' && location.href === ${JSON.stringify(url)}`);
  }

  /** The value of an expression in the page, or of what it promises. */
  async evaluate(expression: string): Promise<unknown> {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = (await this.call(
      'Runtime.evaluate',
      options,
    )) as unknown as Evaluation;
    if (exceptionDetails !== undefined)
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until an expression is true in the page. */
  async until(expression: string, timeoutMs = 30_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while ((await this.evaluate(expression)) !== true) {
      if (Date.now() > deadline) {
        const shown = String(await this.evaluate('document.body?.innerText')).slice(-1500);
        const logged = this.console.slice(-5).join('\n');
        throw new Error(
          `not true in ${timeoutMs} ms: ${expression}\nThe page:\n${shown}\nIts log:\n${logged}`,
        );
      }
      await wait(POLL_MS);
    }
  }

  /** Types into what has the focus; a line's end is the Enter key. */
  async type(text: string): Promise<void> {
    for (const part of text.split(/(\n)/)) {
      if (part === '\n') await this.press('Enter', 13);
      else if (part !== '') await this.call('Input.insertText', { text: part });
    }
  }

  /** Presses a key; `code` is its virtual-key code. */
  async press(key: string, code: number, modifiers = 0): Promise<void> {
    const event = { key, code: key, windowsVirtualKeyCode: code, modifiers };
    await this.call('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  async close(): Promise<void> {
    const gone = once(this.#process, 'close');
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#session = undefined;
      const timer = setTimeout(() => void this.#process.kill('SIGKILL'), CLOSE_MS);
      this.call('Browser.close').catch(() => {}); // it may be gone before it answers
      await gone;
      clearTimeout(timer);
    }
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  /** Messages are JSON with a zero byte behind each. */
  #take(text: string): void {
    const parts = (this.#text + text).split('\0');
    this.#text = parts.pop() ?? '';
    for (const part of parts) this.#takeMessage(JSON.parse(part) as Message);
  }

  #takeMessage({ id, method, params, result, error }: Message): void {
    if (method === 'Runtime.consoleAPICalled') {
      const values = params?.args as readonly { readonly value?: unknown; readonly description?: string }[];
      this.console.push(values.map(({ value, description }) => String(value ?? description)).join(' '));
    }
    if (method === 'Runtime.exceptionThrown') {
      const { text, exception } = (
        params as { exceptionDetails: NonNullable<Evaluation['exceptionDetails']> }
      ).exceptionDetails;
      this.console.push(exception?.description ?? text);
    }
    if (id === undefined) return;
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (error === undefined) call?.resolve(result ?? {});
    else call?.reject(new Error(error.message));
  }
}
