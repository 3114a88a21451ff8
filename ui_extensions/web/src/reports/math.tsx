/**
 * Formulas: TeX becomes MathML, which the browser draws by itself. KaTeX's own drawing needs inline
 * styles, which the pages' policy refuses. What KaTeX writes is read as a document of its own, and
 * written anew from the elements and attributes that are listed here.
 */

import type { ReactNode } from "react"
import { createElement, useEffect, useState } from "react"

import { visible } from "../text/visible"

type Render = (tex: string, isBlock: boolean) => string

let render: Render | null = null
let loading: Promise<void> | null = null
/** There is a font for formulas here; without one Chromium draws no radicals. */
let hasRadicals = true

function measure(): void {
  const place = document.createElement("div")
  place.className = "w-formula-probe"
  const make = (name: string, ...children: (Element | string)[]): Element => {
    const made = document.createElementNS("http://www.w3.org/1998/Math/MathML", name)
    made.append(...children)
    return made
  }
  const root = make("msqrt", make("mi", "x"))
  place.append(make("math", root))
  document.body.append(place)
  const inner = root.firstElementChild?.getBoundingClientRect().width ?? 0
  hasRadicals = inner === 0 || root.getBoundingClientRect().width > inner + 2
  place.remove()
}

function load(): Promise<void> {
  loading ??= import("katex").then(({ default: katex }) => {
    measure()
    render = (tex, isBlock) =>
      katex.renderToString(tex, {
        output: "mathml",
        displayMode: isBlock,
        throwOnError: true,
        trust: false,
        // What is refused is shown in the colour of the text, which both themes have a contrast to.
        errorColor: "-",
        strict: "ignore",
        maxExpand: 200,
        maxSize: 20,
      })
  })
  return loading
}

const ELEMENTS = new Set(
  (
    "math semantics mrow mi mo mn ms mtext mspace msup msub msubsup mfrac msqrt mroot mover munder " +
    "munderover mtable mtr mtd mstyle mpadded mphantom menclose mmultiscripts mprescripts"
  ).split(" "),
)
const ATTRIBUTES: Readonly<Record<string, RegExp>> = {
  display: /^(block|inline)$/,
  displaystyle: /^(true|false)$/,
  scriptlevel: /^[+-]?\d$/,
  mathvariant: /^[a-z-]{1,30}$/,
  mathcolor: /^(#[0-9a-fA-F]{3,8}|[a-zA-Z]{1,30})$/,
  mathbackground: /^(#[0-9a-fA-F]{3,8}|[a-zA-Z]{1,30})$/,
  stretchy: /^(true|false)$/,
  fence: /^(true|false)$/,
  separator: /^(true|false)$/,
  form: /^(prefix|infix|postfix)$/,
  lspace: /^-?[\d.]+(em|ex|px|mu)$/,
  rspace: /^-?[\d.]+(em|ex|px|mu)$/,
  width: /^-?[\d.]+(em|ex|px|mu|%)$/,
  height: /^[+-]?[\d.]+(em|ex|px|mu|%)$/,
  depth: /^[+-]?[\d.]+(em|ex|px|mu|%)$/,
  voffset: /^[+-]?[\d.]+(em|ex|px|mu|%)$/,
  minsize: /^[\d.]+(em|ex|px)$/,
  maxsize: /^[\d.]+(em|ex|px)$/,
  accent: /^(true|false)$/,
  accentunder: /^(true|false)$/,
  linethickness: /^[\d.]+(em|ex|px)$/,
  columnalign: /^[a-z ]{1,200}$/,
  columnspacing: /^[\d.a-z ]{1,200}$/,
  rowspacing: /^[\d.a-z ]{1,200}$/,
  columnlines: /^[a-z ]{1,200}$/,
  rowlines: /^[a-z ]{1,200}$/,
  notation: /^[a-z ]{1,100}$/,
}

/** Write what KaTeX wrote anew; what is not listed is left out with all below it. */
export function elementsOf(node: ChildNode, key: number): ReactNode {
  if (node.nodeType === 3) return node.nodeValue
  if (node.nodeType !== 1) return null
  const element = node as Element
  const name = element.localName
  if (!ELEMENTS.has(name)) return null
  const attributes: Record<string, unknown> = { key }
  for (const { name: attribute, value } of element.attributes) {
    if (ATTRIBUTES[attribute]?.test(value)) attributes[attribute] = value
  }
  const inner = [...element.childNodes].map(elementsOf)
  if (name === "msqrt" && !hasRadicals) return bracketed(key, "√", inner)
  if (name === "mroot" && !hasRadicals) {
    const sign = createElement("msup", { key: "n" }, createElement("mrow", null), inner[1])
    return createElement("mrow", { key }, sign, bracketed(0, "√", inner.slice(0, 1)))
  }
  return createElement(name, attributes, ...inner)
}

/** A root in signs that every font has. */
function bracketed(key: number, sign: string, inner: readonly ReactNode[]): ReactNode {
  return createElement(
    "mrow",
    { key },
    createElement("mo", { key: "sign" }, sign),
    createElement("mo", { key: "open" }, "("),
    ...inner,
    createElement("mo", { key: "close" }, ")"),
  )
}

function drawn(tex: string, isBlock: boolean): ReactNode | Error {
  if (render === null) return null
  try {
    const page = new DOMParser().parseFromString(render(tex, isBlock), "text/html")
    const math = page.querySelector("math")
    return math === null ? new Error("no formula") : elementsOf(math, 0)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** A formula; where it cannot be read, its text and why. */
export function Formula({ tex, isBlock = false }: { tex: string; isBlock?: boolean }) {
  const [isThere, setThere] = useState(render !== null)
  useEffect(() => {
    if (isThere) return
    let isWanted = true
    load().then(
      () => isWanted && setThere(true),
      () => undefined, // it stays TeX
    )
    return () => {
      isWanted = false
    }
  }, [isThere])
  const shown = isThere ? drawn(tex, isBlock) : null
  if (shown === null || shown instanceof Error) {
    const why = shown instanceof Error ? visible(shown.message, 300) : undefined
    return (
      <code className={why ? "w-formula-bad" : "w-formula"} title={why}>
        {visible(tex, 2_000) || "…"}
      </code>
    )
  }
  return <span className={isBlock ? "w-formula-block" : "w-formula"}>{shown}</span>
}
