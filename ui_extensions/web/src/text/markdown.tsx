import "./markdown.css"

import ReactMarkdown from "react-markdown"
import rehypeSanitize from "rehype-sanitize"
import remarkGfm from "remark-gfm"

import { ForeignLink } from "../layout/link"
import { visible } from "./visible"

const MAX_LENGTH = 50_000

/**
 * Markdown from anybody: no raw HTML, sanitised, links to http, https and mailto alone. A picture is
 * a link to it, as loading it would tell its server who reads.
 */
export function Markdown({ text }: { text: string }) {
  return (
    <div className="w-markdown">
      <ReactMarkdown
        skipHtml
        remarkPlugins={[remarkGfm]}
        rehypePlugins={[rehypeSanitize]}
        components={{
          a: ({ href, children }) => <ForeignLink to={href ?? ""}>{children}</ForeignLink>,
          img: ({ src, alt }) => (
            <ForeignLink to={typeof src === "string" ? src : ""}>
              [picture{alt ? `: ${visible(alt, 100)}` : ""}]
            </ForeignLink>
          ),
          h1: ({ children }) => <h3>{children}</h3>,
          h2: ({ children }) => <h3>{children}</h3>,
          h3: ({ children }) => <h4>{children}</h4>,
          h4: ({ children }) => <h5>{children}</h5>,
          h5: ({ children }) => <h6>{children}</h6>,
          h6: ({ children }) => <h6>{children}</h6>,
          input: ({ checked }) => <>{checked ? "☑ " : "☐ "}</>,
        }}
      >
        {text.slice(0, MAX_LENGTH)}
      </ReactMarkdown>
    </div>
  )
}
